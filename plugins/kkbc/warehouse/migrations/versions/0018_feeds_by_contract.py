"""Which feeds there are stands in their contracts: no list of them in the warehouse (kkbc.warehouse.feeds makes it).

Revision ID: 0018
Revises: 0016
"""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widens the table of feeds, and partitions go by the catalogue."""
    _run("0018_feeds_by_contract.sql")


def downgrade() -> None:
    """Puts the list of the first feeds' tables back. Tables of other feeds stay as they are."""
    _run("0018_feeds_by_contract_downgrade.sql")


def _run(name: str) -> None:
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
