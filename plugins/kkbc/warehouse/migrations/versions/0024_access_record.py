"""Uses of personal data are on record, in a table that no role can change.

Revision ID: 0024
Revises: 0023
"""

from pathlib import Path

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the record and the functions that write and check it."""
    script = Path(__file__).with_name("0024_access_record.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes the record away, with what it holds."""
    op.execute("revoke usage on schema ops from pii")
    op.execute("drop table ops.access cascade")
    op.execute("drop sequence ops.access_id")
    op.execute("drop function ops.note_access(text, text, text, text[], bigint)")
    op.execute("drop function ops.access_faults()")
    op.execute("drop function ops.refuse_change()")
