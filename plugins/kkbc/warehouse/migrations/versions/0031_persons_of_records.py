"""The NIK of whoever is restricted or was looked at stays in vault though no row of the person is in force.

Revision ID: 0031
Revises: 0030
"""

from pathlib import Path

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes vault.person, with the persons whom vault has in rows of feeds."""
    script = Path(__file__).with_name("0031_persons_of_records.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """A change of the key cuts again what is on record of persons of whom no row is in force."""
    op.execute("drop table vault.person")
