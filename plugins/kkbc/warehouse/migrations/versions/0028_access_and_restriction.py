"""The vault is read through functions that note it, and persons can be held out of the marts.

Revision ID: 0028
Revises: 0027
"""

from pathlib import Path

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Takes the vault from role pii but for functions (kkbc.warehouse.vault_readers), and makes the restrictions."""
    _run("0028_access_and_restriction.sql")


def downgrade() -> None:
    """Role pii reads the vault again, and nobody is held out of the marts."""
    _run("0028_access_and_restriction_downgrade.sql")


def _run(name: str) -> None:
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
