"""When a manifest was first seen, which rows are judged by when the branch's clock is wrong (Exchange rule 30).

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the moments. Of what is there already they are the earliest that are known."""
    op.execute("alter table ops.manifest add column first_seen_at timestamptz")
    op.execute("update ops.manifest set first_seen_at = seen_at")
    op.execute("alter table ops.manifest alter column first_seen_at set default now()")
    op.execute("alter table ops.manifest alter column first_seen_at set not null")
    op.execute("comment on column ops.manifest.first_seen_at is 'When a manifest of this content was first seen.'")
    op.execute("alter table ops.slice add column manifest_seen_at timestamptz")
    op.execute("update ops.slice set manifest_seen_at = first_seen_at")
    op.execute("grant update (manifest_seen_at) on ops.slice to loader")
    op.execute(
        "comment on column ops.slice.manifest_seen_at is"
        " 'When the manifest that announced it was first seen: rows are judged by it whenever they are judged again.'"
    )


def downgrade() -> None:
    """Takes them away."""
    op.execute("alter table ops.slice drop column manifest_seen_at")
    op.execute("alter table ops.manifest drop column first_seen_at")
