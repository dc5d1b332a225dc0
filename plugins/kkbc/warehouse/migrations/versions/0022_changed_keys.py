"""Which rows of the hidden tables changed since they were published is noted, so that nobody has to look for them.

Revision ID: 0022
Revises: 0021
"""

from pathlib import Path

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table of keys, and the functions that have them noted."""
    script = Path(__file__).with_name("0022_changed_keys.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes them away, with the triggers on the hidden tables."""
    op.execute("drop function ops.follow_changes(regclass, text[])")
    op.execute("drop function ops.note_changed_keys() cascade")
    op.execute("drop table bi_kept.changed_key")
    op.execute("alter table ops.publication_table drop column pair")
