"""Which statements took longest since the last night began can be read, without their values.

Revision ID: 0023
Revises: 0022
"""

from pathlib import Path

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the functions over pg_stat_statements, whether or not the server has it."""
    script = Path(__file__).with_name("0023_slow_statements.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes them away, with the extension."""
    op.execute("drop function ops.reset_statements()")
    op.execute("drop function ops.slow_statements(integer)")
    op.execute("drop function ops.without_literals(text)")
    op.execute("drop function ops.statement_schema()")
    op.execute("drop schema statements cascade")
