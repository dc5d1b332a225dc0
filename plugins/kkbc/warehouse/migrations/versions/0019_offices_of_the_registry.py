"""Where an office is, as the registry says it: a new office is one line there, and no row of a reference table.

Revision ID: 0019
Revises: 0017
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

COLUMNS = {
    "branch_name": ("text", "Name of the office; null where the reference table has it."),
    "kanwil_id": ("text", "Regional office, that of the seat; null where the reference table has it."),
    "province_code": ("text", "Province of the seat; null where the reference table has it."),
    "regency_code": ("text", "Regency of the seat; null where the reference table has it."),
    "lat": ("double precision", "Latitude; null where the reference table has it."),
    "lng": ("double precision", "Longitude; null where the reference table has it."),
}


def upgrade() -> None:
    """Adds the columns. The grants on the table hold for them too; the next run fills them."""
    for name, (kind, meaning) in COLUMNS.items():
        op.execute(f"alter table ops.branch add column {name} {kind}")
        op.execute(f"comment on column ops.branch.{name} is '{meaning}'")


def downgrade() -> None:
    """Takes them away."""
    for name in COLUMNS:
        op.execute(f"alter table ops.branch drop column {name}")
