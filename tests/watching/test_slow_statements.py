"""The report of slow statements, on a real server: whose they are, that no value is in them, when they begin."""

import json
from datetime import date
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from kkbc import nights
from kkbc.cli.application import app
from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.nights import RunRequest
from kkbc.warehouse import connect, server
from kkbc.watching.status import slow_statements
from tests.databases import database

SECRET = "9876543210"


def statements(text: str) -> list[dict[str, object]]:
    """Those of the report that contain `text`."""
    return [row for row in slow_statements(1000) if text in row["statement"]]


def test_statements_have_calls_rows_role_and_part(warehouse: str) -> None:
    for _ in range(3):
        with connect("publisher") as conn:
            conn.execute("select n as mine from generate_series(1, 5) n where n <> 4711")
    (row,) = statements("as mine")
    assert (row["calls"], row["rows"], row["role"], row["part"]) == (3, 15, "publisher", "publication")
    assert row["statement"] == "select n as mine from generate_series(?, ?) n where n <> ?"
    assert row["total_seconds"] >= row["mean_seconds"] > 0  # type: ignore[operator]
    assert row["since"] is not None
    assert row["model"] is None


def test_a_statement_of_dbt_has_its_model(warehouse: str) -> None:
    comment = '/* {"app": "dbt", "node_id": "model.kkbc.int_of_a_test", "profile_name": "kkbc"} */'
    with connect("transformer") as conn:
        conn.execute(f'{comment}\ncreate table "next"."int_of_a_test__dbt_tmp" as (select 1 as of_dbt)')
        conn.execute('create temporary table "int_other__dbt_tmp142233" as (select 1 as of_dbt)')
        conn.execute('insert into "next"."int_of_a_test__dbt_tmp" select n as of_dbt from generate_series(1, 7) n')
    found = {(row["model"], row["part"], row["statement"].split()[0]) for row in statements("as of_dbt")}
    assert found == {
        ("int_of_a_test", "build", "create"),
        ("int_other", "build", "create"),
        ("int_of_a_test", "build", "insert"),
    }


def test_statements_of_readers_and_of_the_owner_are_told_apart(warehouse: str) -> None:
    for role in (None, "bi"):
        with connect(role) as conn:  # type: ignore[arg-type]
            conn.execute("select 1 as whose")
    assert {row["part"] for row in statements("as whose")} == {"readers", "migration, upkeep"}


def test_no_value_is_in_what_postgresql_does_not_normalise(warehouse: str) -> None:
    with connect() as conn:
        conn.execute(f"create role passing password '{SECRET}' valid until '2001-02-03'")
        conn.execute(f"comment on role passing is $x${SECRET}$x$")
        conn.execute(f"set application_name = 'of {SECRET}' -- don't {SECRET}")
        conn.execute(f"select 1 as commented /* it's {SECRET} */")
        conn.execute("drop role passing")
    found = slow_statements(1000)
    assert any("create role passing" in row["statement"] for row in found)
    assert SECRET not in json.dumps(found)


@pytest.mark.parametrize(
    ("statement", "masked"),
    [
        ("select 'it''s', 1.5e3, $2", "select ?, ?, ?"),
        ("select e'it\\'s', E'\\\\' from t1, raw.iuran_2024_01", "select ?, ? from t1, raw.iuran_2024_01"),
        ("select date'2024-01-01' -- don't 12\n from \"a'b\", 'c'", 'select date? from "a?b", ?'),
        ("/* it's */ select '-- no comment', '/* none'", "select ?, ?"),
        ("do $$ begin perform 1; end $$", "do"),
        ("do $tag$ it's $tag$", "do"),
        ("select 'c:\\', x", "select ?, x"),
        ("set x = 'never ended 12", "set x = ?"),
    ],
)
def test_literals_are_masked(warehouse: str, statement: str, masked: str) -> None:
    with connect() as conn:
        assert conn.execute("select ops.without_literals(%s)", [statement]).fetchone() == (masked,)


def test_other_databases_are_not_in_it(pg: server.Server, warehouse: str) -> None:
    with database(pg) as other:
        with psycopg.connect(pg.conninfo(other)) as conn:
            conn.execute("select 1 as elsewhere")
        assert statements("as elsewhere") == []


def test_they_begin_again_with_the_first_run_of_a_later_date(warehouse: str, home: Path, tmp_path: Path) -> None:
    tokens.ensure_key(home)

    def run(day: int, name: str) -> None:
        nights.open_run(RunRequest(date(2024, 1, day), tmp_path), mode="plain", run_id=name)

    def ask() -> None:
        # Often, or the server may let go of it: it keeps 5,000 statements, of all databases of the tests together.
        with connect("bi") as conn:
            for _ in range(100):
                conn.execute("select 1 as of_a_reader")

    run(2, "first")
    ask()
    run(2, "the same date again")
    run(1, "an earlier date")
    assert len(statements("as of_a_reader")) == 1
    run(3, "the next night")
    assert statements("as of_a_reader") == []


@pytest.mark.parametrize("role", ["bi", "analyst", "branch_bi", "loader", "transformer", "publisher"])
def test_only_the_auditor_may_read_them(warehouse: str, role: str) -> None:
    for statement in ("select * from ops.slow_statements(1)", "select * from statements.pg_stat_statements"):
        with connect(role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):  # type: ignore[arg-type]
            conn.execute(statement)


def test_the_command_prints_them(warehouse: str) -> None:
    with connect("bi") as conn:
        conn.execute("select 1 as printed")
    shown = CliRunner().invoke(app, ["status", "--slow", "--most", "1000"])
    assert shown.exit_code == 0
    assert "select ? as printed" in shown.stdout
    assert "readers (bi)" in shown.stdout
    found = json.loads(CliRunner().invoke(app, ["status", "--slow", "--json", "--most", "2"]).stdout)
    assert len(found) == 2
    assert found[0]["total_seconds"] >= found[1]["total_seconds"]


def test_a_server_without_the_extension_is_told_how_to_get_it(warehouse: str, home: Path, tmp_path: Path) -> None:
    with connect() as conn:
        conn.execute("drop extension pg_stat_statements")
    with pytest.raises(UserError, match=r"keeps no statistics.*shared_preload_libraries.*create extension"):
        slow_statements(5)
    # A night begins all the same.
    tokens.ensure_key(home)
    nights.open_run(RunRequest(date(2024, 1, 2), tmp_path), mode="plain", run_id="without")


def test_an_extension_in_another_schema_is_used(warehouse: str) -> None:
    with connect() as conn:
        conn.execute("drop extension pg_stat_statements")
        conn.execute("create extension pg_stat_statements schema public")
    assert slow_statements(1)
