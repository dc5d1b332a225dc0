"""Who reads what: real logins of branches and of a gateway, and what they may try to see more."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

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


def test_a_gateway_says_for_whom_it_asks(logins: None, warehouse: str) -> None:
    assert seen(warehouse, GATEWAY, "set app.bi_user = 'andi@cabang'") == ["KC002"]
    assert seen(warehouse, GATEWAY, f"set app.bi_user = '{CABANG}'") == ["KC001"]
    assert seen(warehouse, GATEWAY, "set app.bi_user = 'nobody'") == []
    assert seen(warehouse, GATEWAY, "set app.bi_user = ''") == []
    assert seen(warehouse, GATEWAY) == []


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
    assert [(m.reader, m.branch_id) for m in bi_logins.mapping()] == [
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
