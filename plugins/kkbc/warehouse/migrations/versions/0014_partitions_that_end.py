"""The months of before 2014, when the agency began its work, share one partition: no branch makes tables without end.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# In the order in which loads lock them.
PARENTS = (
    "vault.registrations",
    "vault.contributions",
    "vault.activities",
    "raw.registrations",
    "raw.contributions",
    "raw.activities",
    "raw.targets",
)
FUNCTION = """
create or replace function ops.ensure_partitions(day date) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
    first_day date := date_trunc('month', day)::date;
    part text := to_char(day, '"_"YYYY"_"MM');
    bounds text := format('from (%L) to (%L)', first_day, (first_day + interval '1 month')::date);
    parent text;
begin
    -- A warehouse that has a partition of such a month already goes on as it was.
    if day < date '2014-01-01' and not exists (
        select from pg_inherits join pg_class as child on child.oid = inhrelid
        where inhparent = '{last}'::regclass and child.relname ~ '_[0-9]{{4}}_[0-9]{{2}}$'
        and right(child.relname, 7) < '2014_01'
    ) then
        part := '_before_2014';
        bounds := 'from (minvalue) to (''2014-01-01'')';
    end if;
    if to_regclass('{last}' || part) is not null then
        return;
    end if;
    lock table locks.partitions in exclusive mode;
    foreach parent in array array[{tables}] loop
        execute format('create table if not exists %s partition of %s for values %s', parent || part, parent, bounds);
    end loop;
end
$$;
"""


def upgrade() -> None:
    """Replaces the function that makes partitions."""
    last = PARENTS[-1]
    tables = ", ".join(f"'{parent}'" for parent in PARENTS)
    made = FUNCTION.format(last=last, tables=tables)
    op.get_bind().exec_driver_sql(made.replace("%", "%%"))


def downgrade() -> None:
    """Leaves the function: it serves the version before as well, and what lies in the shared partition needs it."""
