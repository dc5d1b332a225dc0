"""Reading the vault: for each of its tables a function that role pii may call, and that notes who reads whom, and why.

They are made from the contracts, as the tables are. What has been read and is then rolled back leaves a gap in the
numbers of `ops.access`, which `ops.access_faults()` reports, and a line in the server's log.
"""

from typing import LiteralString

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.exchange.contracts import Contract, feeds, load_contract
from kkbc.warehouse.connection import connect

_Parameters = tuple[tuple[LiteralString, LiteralString, LiteralString], ...]
# Name and type of each parameter, and the condition that it sets.
_PERSON: _Parameters = (
    ("nik", "text", "t.{nik} = {function}.nik"),
    ("token", "text", "t.participant_token = {function}.token"),
)
_SLICE: _Parameters = (
    ("branch_id", "text", "t._branch_id = {function}.branch_id"),
    ("business_date", "date", "t._business_date = {function}.business_date"),
)

_FUNCTION: LiteralString = """
create or replace function vault.{function}(why text, {parameters}) returns setof vault.{table}
language plpgsql security definer set search_path = pg_catalog set plan_cache_mode = force_custom_plan as $$
declare
    found vault.{table}[];
    access_id bigint;
begin
    if {unbounded} then
        raise invalid_parameter_value using message = {hint};
    end if;
    {no_change}select array_agg(t) into found from vault.{table} t
    where {conditions};
    access_id := ops.note_access(
        concat_ws(' ', {action}, {function}.branch_id, {function}.business_date), session_user, {function}.why,
        '{{}}', coalesce(cardinality(found), 0)
    );
    {seen}return query select * from unnest(found);
end
$$
"""

# With the NIK, without which the next change of the key would leave nothing to find the reading by.
_SEEN: LiteralString = """insert into vault.seen (access_id, participant_token)
    select distinct access_id, t.participant_token from unnest(found) t;
    insert into vault.person (nik, participant_token)
    select distinct on (t.{nik}) t.{nik}, t.participant_token from unnest(found) t order by t.{nik}
    on conflict on constraint person_pkey do update set last_at = now();
    """
# No change of the key comes between what is read and what is noted.
_NO_CHANGE: LiteralString = """lock table vault.seen in row exclusive mode;
    """


def make_reader(conn: psycopg.Connection, contract: Contract) -> None:
    """Makes the function `vault.read_<table>` of a feed, or makes it anew, and lets role pii alone call it.

    It takes a reason, and whose rows or which slice: by NIK or token where rows are about persons, or by branch and
    business date. Part of the caller's transaction, as the owner.
    """
    name = f"read_{contract.table}"
    function = sql.Identifier(name)
    given = (*(_PERSON if contract.has_nik else ()), *_SLICE)
    parameters = [sql.SQL(f"{parameter} {type_} default null") for parameter, type_, _ in given]
    columns = {"function": function, "nik": sql.Identifier(contract.nik or "")}
    conditions = [
        sql.SQL("({function}.{parameter} is null or {condition})").format(
            function=function,
            parameter=sql.Identifier(parameter),
            condition=sql.SQL(condition).format(**columns),
        )
        for parameter, _, condition in given
    ]
    unbounded = sql.SQL("({f}.branch_id is null or {f}.business_date is null)").format(f=function)
    hint = "say which slice: branch_id and business_date"
    if contract.has_nik:
        unbounded += sql.SQL(" and {f}.nik is null and {f}.token is null").format(f=function)
        hint = "say whose rows or which slice: nik, token, or branch_id and business_date"
    conn.execute(
        sql.SQL(_FUNCTION).format(
            function=function,
            table=sql.Identifier(contract.table),
            parameters=sql.SQL(", ").join(parameters),
            unbounded=unbounded,
            hint=sql.Literal(hint),
            conditions=sql.SQL("\n        and ").join(conditions),
            action=sql.Literal(f"vault.{contract.table}"),
            no_change=sql.SQL(_NO_CHANGE if contract.has_nik else ""),
            seen=sql.SQL(_SEEN).format(**columns) if contract.has_nik else sql.SQL(""),
        )
    )
    types = ("text", *(type_ for _, type_, _ in given))
    signature = sql.SQL("vault.{}({})").format(function, sql.SQL(", ").join(map(sql.SQL, types)))
    conn.execute(sql.SQL("revoke all on function {} from public").format(signature))
    conn.execute(sql.SQL("grant execute on function {} to pii").format(signature))
    comment = f"The rows of vault.{contract.table} of a person or a slice; who reads, whom and why goes to ops.access."
    conn.execute(sql.SQL("comment on function {} is {}").format(signature, sql.Literal(comment)))


def check_persons_allowed() -> None:
    """Raises UserError unless the login may act as role pii, and that role may read the vault."""
    tables = {contract.table for contract in map(load_contract, feeds()) if contract.has_persons}
    try:
        with connect("pii") as conn:
            row = conn.execute(
                "select array_agg(proname::text) from pg_proc where pronamespace = to_regnamespace('vault')"
                " and has_function_privilege(oid, 'execute')"
            ).fetchone()
    except UserError as error:
        raise _refused() from error
    assert row is not None
    if not tables <= {name.removeprefix("read_") for name in row[0] or ()}:
        raise _refused()


def _refused() -> UserError:
    return UserError(
        "personal data are for logins that may act as database role pii",
        "do without them, or let the owner of the database grant that role",
    )
