"""Publications that can be taken back, what is live, and row policies by reader.

Revision ID: 0009
Revises: 0008
"""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what the publisher keeps and records, the views that tell what is live, and the mapping of readers."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes them away again; the next publication of the older code makes its own stamp. Rolled back ones are gone."""
    script = Path(__file__).with_name("0009_publications_downgrade.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
