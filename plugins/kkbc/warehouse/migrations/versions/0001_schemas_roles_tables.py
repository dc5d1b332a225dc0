"""Schemas, roles, raw and vault tables, bookkeeping.

Revision ID: 0001
Revises: none
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates everything that the pipeline writes to; dbt creates what it builds."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Drops all schemas with their data. Roles stay: other databases of the server may use them."""
    for schema in ("bi_detail", "bi", "audit", "next", "staging", "vault", "raw", "ops"):
        op.execute(f"drop schema if exists {schema} cascade")
