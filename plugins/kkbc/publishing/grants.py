"""Who reads a published table: grants, and the policies by which a branch sees its own rows only."""

from psycopg import sql

from kkbc.publishing.swap import keep_readers_out
from kkbc.publishing.work import Work, name

READERS = {"bi": ("bi", "analyst", "auditor", "branch_bi"), "bi_detail": ("analyst", "auditor")}
# Policy, whom it is for, and which rows it shows.
ALL_READERS = ("readers_of_all", "bi, analyst, auditor", "true")
OWN_BRANCHES = ("branches_own_rows", "branch_bi", "branch_id = any ((select readers.branches())::text[])")
NO_BRANCH = ("branches_all_rows", "branch_bi", "(select readers.is_known())")


def protect(work: Work, schema: str, table: str, aside: str | None = None) -> None:
    """Gives a table of `schema` the grants and row policies that it lacks; nothing is done where all are there.

    Role branch_bi sees the rows of the branches of its session's reader where a table has a `branch_id`, else all of
    them if the mapping knows that reader. aside: the table's name in `bi_kept`, while it lies there, so that no reader
    waits for its first policies.
    """
    relation = name("bi_kept", aside) if aside else name(schema, table)
    ((oid, secured, by_branch),) = work.rows(
        "select c.oid, c.relrowsecurity, exists (select from pg_attribute a where a.attrelid = c.oid"
        " and a.attname = 'branch_id' and not a.attisdropped) from (select to_regclass(%s)::oid as it) t"
        " left join pg_class c on c.oid = t.it",
        [relation.as_string()],
    )
    # Vacuum would keep readers out while it gives pages at the end back; the next night fills them again.
    if not work.rows("select 1 from pg_class where oid = %s and 'vacuum_truncate=false' = any(reloptions)", [oid]):
        work.do("alter table {table} set (vacuum_truncate = false)", table=relation)
    for role in READERS[schema]:
        if oid is None or not work.rows("select 1 where has_table_privilege(%s, %s::oid, 'select')", [role, oid]):
            work.do("grant select on {table} to {role}", table=relation, role=sql.Identifier(role))
    if schema != "bi":
        return
    there = {found for (found,) in work.rows("select polname::text from pg_policy where polrelid = %s", [oid])}
    wanted = (ALL_READERS, OWN_BRANCHES if by_branch else NO_BRANCH)
    lacking = [policy for policy in wanted if policy[0] not in there]
    if not (work.dry or aside) and (lacking or not secured):
        # Of a table that is published already: what follows would wait for its readers as long as they like.
        keep_readers_out(work, [(schema, table)])
    if not secured:
        work.do("alter table {table} enable row level security", table=relation)
    for policy, roles, rows in lacking:
        work.do(
            "create policy {policy} on {table} for select to {roles} using ({rows})",
            policy=sql.Identifier(policy),
            table=relation,
            roles=sql.SQL(roles),
            rows=sql.SQL(rows),
        )
