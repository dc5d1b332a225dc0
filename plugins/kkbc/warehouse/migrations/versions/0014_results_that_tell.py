"""A result of an expectation tells in one line what was looked at, what was found and what was wanted.

Revision ID: 0014
Revises: 0010
"""

from alembic import op

revision = "0014"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the line; results of earlier nights have none."""
    op.execute("alter table ops.expectation_result add column told text")


def downgrade() -> None:
    """Takes it away again."""
    op.execute("alter table ops.expectation_result drop column told")
