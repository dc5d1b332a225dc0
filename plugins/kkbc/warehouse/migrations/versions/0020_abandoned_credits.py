"""The table of a model that is no more goes: participants' tokens, which no build has kept up to date since.

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drops what builds of earlier versions left in schema next; fct_acquisition has taken its place."""
    op.execute("drop table if exists next.int_acquisitions_credited")


def downgrade() -> None:
    """Nothing: the builds of the older code that still has the model make it."""
