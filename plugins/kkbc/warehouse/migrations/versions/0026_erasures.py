"""Persons who were erased: the suppression list, the record of erasures, and rows that were closed by one.

Revision ID: 0026
Revises: 0025
"""

from pathlib import Path

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables, lets rows be closed as erased, and takes persons out of the statistics of the planner."""
    script = Path(__file__).with_name("0026_erasures.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes the tables away, and with them the list: persons on it come back with the next delivery that has them."""
    script = Path(__file__).with_name("0026_erasures_downgrade.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
