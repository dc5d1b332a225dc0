"""Views of schema audit: what the gate reads of the build at hand.

Revision ID: 0002
Revises: 0001
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the views; they read ops and raw only, so that dbt may replace its tables as it likes."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Drops the views."""
    op.execute("drop schema audit cascade")
    op.execute("create schema audit")
    op.execute("grant usage on schema audit to auditor")
