"""The gate holds slices back: status held, ops.hold, and views that look at touched slices only.

Revision ID: 0006
Revises: 0005
"""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the status, the table, and what the audit needs to know of a build."""
    _run(Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Takes them away again. Slices that are held count as superseded: a higher revision brings them back."""
    op.execute("drop schema audit cascade")
    op.execute("create schema audit")
    op.execute("grant usage on schema audit to auditor")
    _run(Path(__file__).with_name("0002_audit_views.sql"))
    # Of 0004 only its views: they follow the grant of temporary tables to the loader.
    retries = Path(__file__).with_name("0004_quarantine_with_a_way_back.sql").read_text(encoding="utf-8")
    _execute(retries[retries.index("-- The views of 0002") :])
    op.execute("drop table ops.hold")
    op.execute("drop index ops.slice_held")
    op.execute("update ops.slice set status = 'superseded' where status = 'held'")
    op.execute("alter table ops.slice drop constraint slice_status_check")
    op.execute(
        "alter table ops.slice add constraint slice_status_check check (status in ('loaded', 'superseded', 'rejected'))"
    )
    op.execute("alter table ops.build drop column load_id")
    op.execute("revoke select on sequence ops.load_id from transformer")
    op.execute("revoke delete on ops.expectation_result from auditor")


def _run(script: Path) -> None:
    _execute(script.read_text(encoding="utf-8"))


def _execute(script: str) -> None:
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
