"""Who reads what: real logins of branches and of a gateway, and what they may try to see more."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kkbc.core.bi_tickets import connection_options, ticket
from kkbc.core.errors import UserError
from kkbc.publishing import PublishedModel
from kkbc.upkeep import bi_logins
from kkbc.warehouse import connect

from .conftest import MODELS, change, publish, publishes, read, undo

NATIONAL = PublishedModel("kpi_national", "bi", ("business_date",))
LOGINS = {
    "kkbc_test_cabang": "branch_bi",
    "kkbc_test_gateway": "bi_gateway, branch_bi",
    "kkbc_test_kantor": "branch_bi",
}
CABANG, GATEWAY, KANTOR = LOGINS


@pytest.fixture
def logins(marts: None, warehouse: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logins with the roles that an administrator would give them, over a published warehouse."""
    publishes(monkeypatch, *MODELS, NATIONAL)
    change(
        "create table next.kpi_national (business_date date not null, aktif bigint)",
        "insert into next.kpi_national values ('2023-12-11', 12)",
    )
    publish()
    with connect() as conn:
        for login, roles in LOGINS.items():
            conn.execute(f"create role {login} login in role {roles}")  # type: ignore[arg-type]
    bi_logins.grant(CABANG, ["KC001"], who="tester")
    bi_logins.grant("andi@cabang", ["KC002"], who="tester")
    yield
    with connect() as conn:
        for login in LOGINS:
            conn.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(login)))


def seen(warehouse: str, login: str, *before: str, table: str = "bi.kpi_x", options: str = "") -> list[str]:
    """The branches that a login sees in a table, after statements of its own."""
    with psycopg.connect(make_conninfo(warehouse, user=login, options=options)) as conn:
        for statement in before:
            conn.execute(statement)  # type: ignore[arg-type]
        found = conn.execute(f"select distinct branch_id from {table} order by 1").fetchall()  # type: ignore[arg-type]
        return [branch_id for (branch_id,) in found]


def test_a_branch_sees_its_own_rows_and_what_is_nobodys(logins: None, warehouse: str) -> None:
    assert seen(warehouse, CABANG) == ["KC001"]
    with psycopg.connect(make_conninfo(warehouse, user=CABANG)) as conn:
        assert conn.execute("select aktif from bi.kpi_national").fetchall() == [(12,)]
        assert conn.execute("select count(*) from bi.publication").fetchone() == (1,)
        assert conn.execute("select count(*) from bi.publication_table").fetchone() == (4,)
        conn.execute("select * from bi.publication_slice")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("select * from bi_detail.fct_y")


def test_roles_of_dashboards_and_analysts_see_all(logins: None) -> None:
    for role in ("bi", "analyst", "auditor"):
        assert read(role, "select count(distinct branch_id) from bi.kpi_x") == [(2,)]
    assert read("branch_bi", "select * from bi.kpi_x") == []


def test_who_is_not_in_the_mapping_sees_no_branch(logins: None, warehouse: str) -> None:
    assert seen(warehouse, KANTOR) == []
    bi_logins.grant(KANTOR, ["KC001", "KC002"], who="tester")
    assert seen(warehouse, KANTOR) == ["KC001", "KC002"]
    bi_logins.revoke(KANTOR, ["KC002"], who="tester")
    assert seen(warehouse, KANTOR) == ["KC001"]
    bi_logins.revoke(KANTOR, [], who="tester")
    assert seen(warehouse, KANTOR) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "set app.bi_user = 'andi@cabang'",
        "set role branch_bi",
        "set local row_security = on",
        "select set_config('app.bi_user', 'andi@cabang', false)",
    ],
)
def test_a_login_of_its_own_stays_who_it_is(logins: None, warehouse: str, attempt: str) -> None:
    assert seen(warehouse, CABANG, attempt) == ["KC001"]
    assert seen(warehouse, CABANG, "set role branch_bi", attempt) == ["KC001"]
    assert seen(warehouse, CABANG, options="-c app.bi_user=andi@cabang") == ["KC001"]


@pytest.mark.parametrize(
    "attempt",
    [
        "set role bi",
        "set role analyst",
        "set role bi_gateway",
        "set session authorization bi",
        "set row_security = off; select * from bi.kpi_x",
        "insert into readers.branch_reader (reader, branch_id, granted_by) values (session_user, 'KC002', 'me')",
        "update readers.branch_reader set branch_id = 'KC002'",
        "delete from readers.branch_reader",
        "select * from readers.branch_reader",
        "create or replace function readers.branches() returns text[] language sql as $$ select '{KC002}'::text[] $$",
        "create function bi.branches() returns int language sql as 'select 1'",
        "drop policy branches_own_rows on bi.kpi_x",
        "alter table bi.kpi_x disable row level security",
        "update bi.kpi_x set branch_id = 'KC001'",
        "insert into bi.kpi_x values ('KC001', '2023-12-12', 1, null)",
        "grant bi to kkbc_test_cabang",
        "select * from bi_kept.difference",
        "select * from next.kpi_x",
        "select * from ops.publication_diff",
    ],
)
def test_what_would_show_more_is_refused(logins: None, warehouse: str, attempt: str) -> None:
    with (
        psycopg.connect(make_conninfo(warehouse, user=CABANG)) as conn,
        pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidAuthorizationSpecification)),
    ):
        conn.execute(attempt)  # type: ignore[arg-type]


def test_a_function_in_a_query_is_shown_no_other_row(logins: None, warehouse: str) -> None:
    """The usual way around row policies: a cheap function that tells of each row it is called for."""
    with connect() as owner:  # a reader can make none of its own
        owner.execute(
            "create function public.tell(text) returns boolean language plpgsql cost 0.0000001"
            " as $$ begin raise notice '%', $1; return true; end $$"
        )
    with psycopg.connect(make_conninfo(warehouse, user=CABANG)) as conn:
        notices: list[str] = []
        conn.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
        conn.execute("select * from bi.kpi_x where public.tell(branch_id)")
    assert set(notices) == {"KC001"}


def by_gateway(reader: str) -> str:
    """The options by which the gateway connects for a reader."""
    return connection_options(reader, bi_logins.gateway_key())


def test_a_gateway_says_for_whom_it_asks(logins: None, warehouse: str) -> None:
    assert seen(warehouse, GATEWAY, options=by_gateway("andi@cabang")) == ["KC002"]
    assert seen(warehouse, GATEWAY, options=by_gateway(CABANG)) == ["KC001"]
    assert seen(warehouse, GATEWAY, options=by_gateway("nobody")) == []
    assert seen(warehouse, GATEWAY, options=by_gateway("")) == []
    assert seen(warehouse, GATEWAY) == []


@pytest.mark.parametrize("name", ["Ibu Sri", "o'brien", 'a "b" \\ c', "pak-é=x", "-c role=bi"])
def test_names_of_any_letters_reach_the_warehouse_as_they_are(logins: None, warehouse: str, name: str) -> None:
    bi_logins.grant(name, ["KC002"], who="tester")
    assert seen(warehouse, GATEWAY, options=by_gateway(name)) == ["KC002"]


@pytest.mark.parametrize(
    "attempt",
    [
        f"set app.bi_user = '{CABANG}'",
        f"select set_config('app.bi_user', '{CABANG}', false)",
        f"select set_config('app.bi_user', '{CABANG}', false), set_config('app.bi_ticket', '', false)",
        f"select set_config('app.bi_user', '{CABANG}', false), set_config('app.bi_ticket', '9999999999.' ||"
        " split_part(current_setting('app.bi_ticket'), '.', 2), false)",
        "set app.bi_ticket = '9999999999.0'",
        "set app.bi_ticket = 'x'",
        "set app.bi_ticket = '99999999999999999999.' ",
        f"set app.bi_ticket = '99999999999.{64 * 'a'}'",
        "set app.bi_user = ''",
    ],
)
def test_a_user_of_a_gateway_who_sends_sql_cannot_be_another(logins: None, warehouse: str, attempt: str) -> None:
    assert seen(warehouse, GATEWAY, attempt, options=by_gateway("andi@cabang")) == []
    assert seen(warehouse, GATEWAY, attempt, "reset all", options=by_gateway("andi@cabang")) == ["KC002"]


def test_a_gateway_without_a_ticket_that_holds_sees_nothing(logins: None, warehouse: str) -> None:
    key, later = bi_logins.gateway_key(), int(time.time()) + 60

    def through(expires: int, key: str, of: str = "andi@cabang", name: str = "andi@cabang") -> list[str]:
        options = f"-c app.bi_user={name} -c app.bi_ticket={ticket(of, key, expires)}"
        return seen(warehouse, GATEWAY, options=options)

    assert seen(warehouse, GATEWAY, options="-c app.bi_user=andi@cabang") == []
    assert through(later, key) == ["KC002"]
    assert through(later - 61, key) == []
    assert through(later + 2 * 24 * 3600, key) == []
    assert through(later, secrets.token_hex(32)) == []
    assert through(later, key, of=CABANG) == []
    # Neither part of what is signed can lend the other a digit.
    assert through(later, key, of="1.andi@cabang", name="andi@cabang") == []
    bi_logins.replace_gateway_key(secrets.token_hex(32), who="tester")
    assert through(later, key) == []
    assert through(later, bi_logins.gateway_key()) == ["KC002"]


@pytest.mark.parametrize("statement", ["select * from readers.gateway_key", "select readers.hmac('x', '\\x00')"])
def test_the_key_of_the_gateways_is_the_owners(logins: None, warehouse: str, statement: str) -> None:
    for role in ("bi", "analyst", "auditor", "publisher", "loader", "transformer", "branch_bi"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            read(role, statement)
    with (
        psycopg.connect(make_conninfo(warehouse, user=GATEWAY, options=by_gateway("andi@cabang"))) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute(statement)  # type: ignore[arg-type]


def test_the_warehouse_signs_as_the_standard_does(warehouse: str) -> None:
    with connect() as conn:
        for key, text in ((bytes(32), ""), (b"Jefe", "what do ya want for nothing?"), (b"k" * 64, "é" * 99)):
            row = conn.execute("select readers.hmac(%s, %s)", [text, key]).fetchone()
            assert row == (hmac.new(key, text.encode(), hashlib.sha256).digest(),)


REGIONS = PublishedModel("dim_branch", "bi", ("branch_id",))


@pytest.fixture
def regions(logins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two branches of one regional office are published, beside the logins."""
    publishes(monkeypatch, *MODELS, NATIONAL, REGIONS)
    change(
        "create table next.dim_branch (branch_id text not null, kanwil_id text)",
        "insert into next.dim_branch values ('KC001', 'KW01'), ('KC002', 'KW01'), ('KC003', 'KW04')",
        "insert into next.kpi_x values ('KC003', '2023-12-11', 1, 0), ('HQ', '2023-12-11', 1, 0)",
    )
    publish()


def test_a_regional_office_sees_the_branches_that_it_has(regions: None, warehouse: str) -> None:
    bi_logins.grant(KANTOR, ["KW01"], who="tester")
    assert seen(warehouse, KANTOR) == ["KC001", "KC002"]
    assert seen(warehouse, GATEWAY, options=by_gateway(KANTOR)) == ["KC001", "KC002"]
    change(
        "update next.dim_branch set kanwil_id = case branch_id when 'KC001' then 'KW04' when 'KC003' then 'KW01' end"
        " where branch_id <> 'KC002'"
    )
    publish()
    assert seen(warehouse, KANTOR) == ["KC002", "KC003"]
    bi_logins.grant(KANTOR, ["KC001"], who="tester")
    assert seen(warehouse, KANTOR) == ["KC001", "KC002", "KC003"]
    bi_logins.revoke(KANTOR, ["Sumbagut"], who="tester")
    assert seen(warehouse, KANTOR) == ["KC001"]


def test_head_office_sees_all_and_who_is_unknown_nothing(regions: None, warehouse: str) -> None:
    assert seen(warehouse, KANTOR) == []
    nobody = psycopg.connect(make_conninfo(warehouse, user=KANTOR))
    assert nobody.execute("select * from bi.kpi_national").fetchall() == []
    bi_logins.grant(KANTOR, ["all"], who="tester")
    assert seen(warehouse, KANTOR) == ["HQ", "KC001", "KC002", "KC003"]
    assert nobody.execute("select aktif from bi.kpi_national").fetchall() == [(12,)]
    bi_logins.revoke(KANTOR, [], who="tester")
    assert seen(warehouse, KANTOR) == []
    assert nobody.execute("select * from bi.kpi_national").fetchall() == []
    nobody.close()


def test_a_row_of_the_mapping_that_names_no_branch_is_refused(warehouse: str) -> None:
    for columns, values in (("branch_id", "null"), ("level", "'region'"), ("level, branch_id", "'nation', 'KC001'")):
        with connect() as conn, pytest.raises(psycopg.errors.CheckViolation):
            conn.execute(
                f"insert into readers.branch_reader (reader, granted_by, {columns}) values ('x', 'x', {values})"  # type: ignore[arg-type]
            )


def test_who_asks_is_found_once_a_query(regions: None, warehouse: str) -> None:
    """Not for each row: the planner takes both functions out of the scan, and looks the branches up in an index."""
    bi_logins.grant(KANTOR, ["KW01"], who="tester")
    change(
        "insert into next.kpi_x select 'KC' || lpad(b::text, 3, '0'), d, 1, 0"
        " from generate_series(4, 123) b, generate_series(date '2023-01-01', '2023-03-31', '1 day') d"
    )
    publish()
    with connect() as owner:
        owner.execute("analyze bi.kpi_x")
    with psycopg.connect(make_conninfo(warehouse, user=KANTOR)) as conn:
        plan = "\n".join(row for (row,) in conn.execute("explain select * from bi.kpi_x").fetchall())
        national = "\n".join(row for (row,) in conn.execute("explain select * from bi.kpi_national").fetchall())
    assert "InitPlan" in plan
    assert "Index Cond: (branch_id = ANY ((InitPlan 1).col1))" in plan
    assert "Filter: (InitPlan 1).col1" in national


def test_policies_stay_with_tables_of_a_new_shape_and_with_those_that_come_back(logins: None, warehouse: str) -> None:
    change("alter table next.kpi_x add column x int", "alter table next.kpi_national add column branch_id text")
    publish()
    assert seen(warehouse, CABANG) == ["KC001"]
    assert seen(warehouse, CABANG, table="bi.kpi_national") == []
    undo()
    assert seen(warehouse, CABANG) == ["KC001"]
    with psycopg.connect(make_conninfo(warehouse, user=CABANG)) as conn:
        assert conn.execute("select aktif from bi.kpi_national").fetchall() == [(12,)]


def test_policies_that_were_lost_are_put_back_by_the_next_publication(logins: None, warehouse: str) -> None:
    with connect("publisher") as conn:
        conn.execute("drop policy branches_own_rows on bi.kpi_x")
        conn.execute("alter table bi.kpi_x disable row level security")
        conn.execute("revoke select on bi.kpi_national from branch_bi, bi")
    publish()
    assert seen(warehouse, CABANG) == ["KC001"]
    assert read("bi", "select aktif from bi.kpi_national") == [(12,)]


def test_the_mapping_remembers_and_says_what_is_wrong(logins: None) -> None:
    bi_logins.revoke("andi@cabang", ["KC002"], who="another")
    bi_logins.grant("andi@cabang", ["KC001", "KC002"], who="tester")
    assert [(m.reader, m.scope) for m in bi_logins.mapping()] == [
        ("andi@cabang", "KC001"),
        ("andi@cabang", "KC002"),
        (CABANG, "KC001"),
    ]
    history = read("auditor", "select branch_id, granted_by, revoked_by from readers.branch_reader order by granted_at")
    assert ("KC002", "tester", "another") in history
    with pytest.raises(UserError, match="KC999"):
        bi_logins.grant("andi@cabang", ["KC999"], who="tester")
    with pytest.raises(UserError, match="'nobody' sees no branch"):
        bi_logins.revoke("nobody", [], who="tester")
    with pytest.raises(UserError, match="'andi@cabang' does not see KC003"):
        bi_logins.revoke("andi@cabang", ["KC003"], who="tester")
    assert bi_logins.grant("andi@cabang", ["KC001"], who="tester") == []


def test_a_login_that_sees_nothing_yet_is_reported(logins: None) -> None:
    assert bi_logins.standing(CABANG) == "login"
    assert bi_logins.standing("andi@cabang") == "no login"
    with connect() as conn:
        conn.execute(sql.SQL("revoke branch_bi from {}").format(sql.Identifier(CABANG)))
    assert bi_logins.standing(CABANG) == "not in branch_bi"
    with connect() as conn:
        conn.execute(sql.SQL("grant branch_bi, bi to {}").format(sql.Identifier(CABANG)))
    assert bi_logins.standing(CABANG) == "sees all"
