"""Readers of regional offices and of all branches, and gateways that prove for whom they ask.

Revision ID: 0030
Revises: 0029
"""

from pathlib import Path

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The mapping names regional offices and the nation too, and a gateway's reader counts with a ticket only."""
    _run("0030_readers_of_regions.sql")


def downgrade() -> None:
    """Readers of branches are left; a gateway is believed without a ticket."""
    _run("0030_readers_of_regions_downgrade.sql")


def _run(name: str) -> None:
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
