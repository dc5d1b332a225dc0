"""What a run was asked for stands in its row, so that no step hands it to the next.

Revision ID: 0015
Revises: 0014
"""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; a full refresh is a row now, so the loader need not break off a build any more."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes them away again; a full refresh that was asked for and not made is noted the way it was before."""
    op.execute(
        "update ops.built m set complete = false where exists (select from ops.run r where r.full_refresh"
        " and r.started_at > coalesce((select started_at from ops.build b where b.build_id = m.build_id), m.built_at))"
    )
    op.execute("alter table ops.build drop column gate")
    op.execute(
        "alter table ops.run drop column branch_ids, drop column first_business_date, drop column gate,"
        " drop column full_refresh, drop column reread_since, drop column reread_until, drop column requested_by,"
        " drop column notes"
    )
    op.execute("grant update (complete) on ops.built to loader")
