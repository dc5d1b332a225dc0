"""Texts that branches type freely, and what people say they earn, move from raw to the vault (Exchange rule 39).

Revision ID: 0013
Revises: 0012
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

PARENTS = "'vault.contributions'"
WITH_ACTIVITIES = "'vault.contributions', 'vault.activities'"


def upgrade() -> None:
    """Moves columns and what stands in them; marks in codes come with `kkbc.warehouse.remarking`, which has the key."""
    _run("0013_no_person_in_raw.sql")
    _make_partitions_of(PARENTS, WITH_ACTIVITIES)


def downgrade() -> None:
    """Moves them back. Notes and details that were cleared, and the codes behind marks, stay what they are."""
    _make_partitions_of(WITH_ACTIVITIES, PARENTS)
    _run("0013_no_person_in_raw_downgrade.sql")


def _run(name: str) -> None:
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def _make_partitions_of(before: str, after: str) -> None:
    """The function that makes partitions, as it stands, for one parent more or fewer."""
    row = op.get_bind().execute(sa.text("select pg_get_functiondef('ops.ensure_partitions(date)'::regprocedure)")).one()
    start, found, rest = str(row[0]).partition("array[")
    parents, end, rest = rest.partition("]")
    if not found or not end or before not in parents:
        raise RuntimeError("ops.ensure_partitions is not as this migration knows it")
    made = start + found + parents.replace(before, after) + end + rest
    op.get_bind().exec_driver_sql(made.replace("%", "%%"))
