"""Messages to the operators, what retention may delete, and what a re-read does to the quarantine.

Revision ID: 0008
Revises: 0006
"""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds table, grants and event."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes them away again."""
    op.execute("drop table ops.notification")
    op.execute("revoke delete on ops.dbt_result, ops.expectation_result from loader")
    op.execute("delete from ops.quarantine_event where event = 'found'")
    op.execute("alter table ops.quarantine_event drop constraint quarantine_event_event_check")
    op.execute(
        "alter table ops.quarantine_event add constraint quarantine_event_event_check"
        " check (event in ('accepted', 'judged_anew', 'beaten', 'resolved'))"
    )
