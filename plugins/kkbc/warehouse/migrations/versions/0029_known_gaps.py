"""A gap in the record of accesses can be acknowledged.

Revision ID: 0029
Revises: 0028
"""

from pathlib import Path

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Has the check of the record leave out gaps that an entry acknowledges."""
    _run("0029_known_gaps.sql")


def downgrade() -> None:
    """Every gap is a fault again."""
    _run("0029_known_gaps_downgrade.sql")


def _run(name: str) -> None:
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
