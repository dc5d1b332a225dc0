"""Locks that readers cannot reach, privileges that are used and no more, records that are only added to.

Revision ID: 0011
Revises: 0010
"""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ALONE = "lock table locks.partitions in exclusive mode"
ALONE_BEFORE = "perform pg_advisory_xact_lock(hashtext('kkbc.partitions'))"

PARTITIONS = """
create or replace function ops.ensure_partitions(day date) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
    first_day date := date_trunc('month', day)::date;
    part text := to_char(day, '"_"YYYY"_"MM');
    parent text;
begin
    if to_regclass('raw.targets' || part) is not null then
        return;
    end if;
    {alone};
    foreach parent in array array['vault.registrations', 'vault.contributions',
            'raw.registrations', 'raw.contributions', 'raw.activities', 'raw.targets'] loop
        execute format('create table if not exists %s partition of %s for values from (%L) to (%L)',
                       parent || part, parent, first_day, (first_day + interval '1 month')::date);
    end loop;
end
$$;
"""


def upgrade() -> None:
    """Makes locks and functions, and grants anew."""
    # A database of before has the schema from whoever migrates it (kkbc.warehouse.schema).
    _run(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
    _run(PARTITIONS.format(alone=ALONE))


def downgrade() -> None:
    """Grants as before. Of repeated audits the last results stay."""
    _run(PARTITIONS.format(alone=ALONE_BEFORE))
    name = Path(__file__).stem
    _run(Path(__file__).with_name(f"{name}_downgrade.sql").read_text(encoding="utf-8"))


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
