"""What an audit costs goes by the slices of the build, and not by the history.

Revision ID: 0021
Revises: 0020
"""

from pathlib import Path

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lets the planner see which build the views of audit are of, and loads see to its statistics."""
    _run("0021_audits_by_what_is_new.sql")


def downgrade() -> None:
    """Puts the earlier views back."""
    _run("0021_audits_by_what_is_new_downgrade.sql")


def _run(name: str) -> None:
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
