"""Ways of a run, attempts from their first moment, when a manifest was asked for.

Revision ID: 0003
Revises: 0002
"""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns and widens the outcomes of an attempt."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes them away again; attempts that are running or were killed are forgotten."""
    op.execute("alter table ops.manifest drop column checked_at")
    op.execute("delete from ops.attempt where outcome in ('running', 'killed')")
    op.execute("alter table ops.attempt drop constraint attempt_finished_check, drop constraint attempt_outcome_check")
    op.execute(
        "alter table ops.attempt add constraint attempt_outcome_check"
        " check (outcome in ('loaded', 'nothing_new', 'failed')), alter column finished_at set not null"
    )
    op.execute("drop index ops.attempt_run_id_idx")
    op.execute("alter table ops.run drop column alert, drop column ways")
