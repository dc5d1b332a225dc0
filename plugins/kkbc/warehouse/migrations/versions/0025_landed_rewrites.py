"""Landed files may be rewritten without a person: by which hash each is known since is on record.

Revision ID: 0025
Revises: 0024
"""

from pathlib import Path

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table of rewrites."""
    script = Path(__file__).with_name("0025_landed_rewrites.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes it away: landed files that were rewritten are then not those that were loaded."""
    op.execute("drop table ops.landed_rewrite")
