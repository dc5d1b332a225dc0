"""What came of slices, branches, visits and nights, said once, in views that all who tell people of it read.

Revision ID: 0016
Revises: 0014
"""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None

VIEWS = (
    "publication_live",
    "data_warning",
    "run_step",
    "run_summary",
    "night",
    "branch_failing",
    "branch_visit",
    "visit",
    "quarantine_by_code",
    "branch_rows",
    "branch_standing",
    "slice_standing",
    "held_slice",
    "revision",
    "night_span",
)


def upgrade() -> None:
    """Makes the views, the list of feeds that they expect slices of, and the indexes that keep a night cheap."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes them away; nothing else is lost."""
    for view in VIEWS:
        op.execute(f"drop view ops.{view}")
    op.execute("drop table ops.feed")
    op.execute("drop index ops.slice_by_day, ops.slice_by_run, ops.run_by_day, ops.attempt_by_run")
    op.execute("create index on ops.attempt (run_id)")
