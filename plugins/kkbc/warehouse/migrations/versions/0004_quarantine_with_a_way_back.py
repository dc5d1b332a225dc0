"""Quarantine with a way back: the history of its rows, and slices whose rows came by several loads.

Revision ID: 0004
Revises: 0003
"""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the history; the gate's views learn of the loads of retries."""
    _run(Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Takes both away again. Rows that retries loaded stay, and the gate will call them rows of another load."""
    op.execute("drop schema audit cascade")
    op.execute("create schema audit")
    op.execute("grant usage on schema audit to auditor")
    _run(Path(__file__).with_name("0002_audit_views.sql"))
    op.execute("drop table ops.quarantine_event")
    op.execute("drop index ops.quarantine_open")
    op.execute("alter table ops.slice drop column retry_load_ids")


def _run(script: Path) -> None:
    op.get_bind().exec_driver_sql(script.read_text(encoding="utf-8").replace("%", "%%"))
