"""Partitions are made in the order in which loads lock their tables, so that neither waits for the other for ever.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A load writes to vault, then to raw. Making a partition locks its parent whole until the end of the transaction.
IN_ORDER = (
    "vault.registrations",
    "vault.contributions",
    "raw.registrations",
    "raw.contributions",
    "raw.activities",
    "raw.targets",
)
BEFORE = (*IN_ORDER[2:], *IN_ORDER[:2])

FUNCTION = """
create or replace function ops.ensure_partitions(day date) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
    first_day date := date_trunc('month', day)::date;
    part text := to_char(day, '"_"YYYY"_"MM');
    parent text;
begin
    if to_regclass('{last}' || part) is not null then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext('kkbc.partitions'));
    foreach parent in array array[{tables}] loop
        execute format('create table if not exists %s partition of %s for values from (%L) to (%L)',
                       parent || part, parent, first_day, (first_day + interval '1 month')::date);
    end loop;
end
$$;
"""


def upgrade() -> None:
    """Replaces the function that makes partitions."""
    _make(IN_ORDER)


def downgrade() -> None:
    """Puts the earlier one back."""
    _make(BEFORE)


def _make(parents: tuple[str, ...]) -> None:
    made = FUNCTION.format(last=parents[-1], tables=", ".join(f"'{parent}'" for parent in parents))
    op.get_bind().exec_driver_sql(made.replace("%", "%%"))
