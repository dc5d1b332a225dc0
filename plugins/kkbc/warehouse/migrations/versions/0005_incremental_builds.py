"""Builds that go on from the one before: what the marts stand at, and an index by key.

Revision ID: 0005
Revises: 0004
"""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table, the indexes, and what the transformer needs."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes them away again; the build of the older code makes all anew."""
    op.execute("drop table ops.built")
    op.execute("drop index raw.registrations_by_key")
    op.execute("drop index raw.contributions_by_key")
    op.execute(
        "do $$ begin execute format('revoke temporary on database %I from transformer', current_database()); end $$"
    )
