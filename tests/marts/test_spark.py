"""The second engine without a cluster: what travels to it and back, and what is said when it is not there."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.core.settings import Settings, get_settings
from kkbc.marts import state
from kkbc.marts.models import ForeignKey, PublishedModel
from kkbc.marts.spark import bringing, place
from kkbc.marts.spark.reading import read
from kkbc.warehouse import connect, server
from tests.dbt_project.conftest import current, warehouse

RESTRICTED = "int_participants_restricted"


@pytest.fixture(scope="module")
def conn(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection]:
    with warehouse(pg, tmp_path_factory) as environment, current(environment), connect(autocommit=True) as opened:
        yield opened


def test_values_travel_to_parquet_as_they_are(conn: psycopg.Connection) -> None:
    conn.execute(
        "create table public.travelling (t text, a text[], d date, i integer, b bigint, f double precision, y boolean,"
        " z timestamptz, j jsonb)"
    )
    conn.execute("insert into public.travelling values (null), ('')")
    conn.execute(
        "insert into public.travelling values"
        " ('a, \"b\"\n\\N', '{A,B}', '2024-02-29', -1, 9007199254740993, 0.1, false,"
        " '2024-01-01 00:30:00.000001+07', '{}'),"
        " ('x', '{}', '0001-01-01', 0, 0, 1e300, true, '1969-12-31 23:59+00', null)"
    )
    frame = read(conn, sql.Identifier("public", "travelling"))
    assert frame.columns == ["t", "a", "d", "i", "b", "f", "y", "z"]
    instants = datetime(2023, 12, 31, 17, 30, 0, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, tzinfo=UTC)
    assert frame.rows() == [
        (None, None, None, None, None, None, None, None),
        ("", None, None, None, None, None, None, None),
        ('a, "b"\n\\N', ["A", "B"], date(2024, 2, 29), -1, 9007199254740993, 0.1, False, instants[0]),
        ("x", [], date(1, 1, 1), 0, 0, 1e300, True, instants[1]),
    ]


@pytest.fixture
def marts(conn: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fact of months that names a dimension, in the hidden schema and, with other rows, as Spark has them."""
    key = ForeignKey(("code",), "dim", ("code",))
    models = [PublishedModel("dim", "bi", ("code",)), PublishedModel("fct", "bi", ("n",), (key,), day="day")]
    monkeypatch.setattr(bringing, "published_models", lambda: models)
    monkeypatch.setattr(bringing, "BESIDES", {RESTRICTED: bringing.BESIDES[RESTRICTED]})
    conn.execute(
        "drop table if exists next.fct, next.dim, next.int_participants_restricted;"
        " create table next.dim (code text primary key, name text);"
        " create table next.fct (n bigint primary key, code text references next.dim, day date, amount numeric(38, 0));"
        " create table next.int_participants_restricted"
        " (participant_token text, is_restricted boolean, is_changed boolean);"
        " insert into next.dim values ('old', 'Old'), ('both', 'Both');"
        " insert into next.fct values (1, 'old', '2024-01-01', 5), (2, 'both', '2024-01-02', 5),"
        " (3, 'both', '2024-02-01', 7)"
    )
    return tmp_path


def put(folder: Path, table: str, part: str, rows: list[dict[str, object]], file: str = "a.parquet") -> None:
    place_ = folder / "next.db" / table / part
    place_.mkdir(parents=True, exist_ok=True)
    for old in place_.iterdir():
        old.unlink()
    schema = {"amount": pl.Decimal(38, 0)} if table == "fct" else None
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(place_ / file)


def hidden(conn: psycopg.Connection, table: str) -> list[tuple[object, ...]]:
    return conn.execute(sql.SQL("select * from {} order by 1").format(sql.Identifier("next", table))).fetchall()


def test_marts_are_brought_by_difference_and_by_month(conn: psycopg.Connection, marts: Path) -> None:
    january = [{"n": 2, "code": "new", "day": date(2024, 1, 2), "amount": Decimal(6)}]
    february = [{"n": 3, "code": "both", "day": date(2024, 2, 1), "amount": Decimal(7)}]
    put(marts, "dim", "", [{"code": "both", "name": "Both of them"}, {"code": "new", "name": None}])
    put(marts, "fct", "_month=2024-01", january)
    put(marts, "fct", "_month=2024-02", february)
    nobody = {"participant_token": pl.String, "is_restricted": pl.Boolean, "is_changed": pl.Boolean}
    (marts / "next.db" / RESTRICTED).mkdir()
    pl.DataFrame(schema=nobody).write_parquet(marts / "next.db" / RESTRICTED / "a.parquet")
    before = conn.execute("select ctid from next.fct where n = 3").fetchone()
    brought = bringing.bring(conn, marts, None)
    assert hidden(conn, "dim") == [("both", "Both of them"), ("new", None)]
    assert hidden(conn, "fct") == [
        (2, "new", date(2024, 1, 2), Decimal(6)),
        (3, "both", date(2024, 2, 1), Decimal(7)),
    ]
    # A row that is the same is left where it is.
    assert conn.execute("select ctid from next.fct where n = 3").fetchone() == before
    # Files of February are those of before: what else is there of it is not looked at. January is gone.
    conn.execute("update next.fct set amount = 8 where n = 3")
    (marts / "next.db" / "fct" / "_month=2024-01" / "a.parquet").unlink()
    bringing.bring(conn, marts, brought)
    assert hidden(conn, "fct") == [(3, "both", date(2024, 2, 1), Decimal(8))]
    bringing.bring(conn, marts, None)
    assert hidden(conn, "fct") == [(3, "both", date(2024, 2, 1), Decimal(7))]


def test_a_first_bring_does_not_compare_each_row_with_those_before_it(conn: psycopg.Connection, marts: Path) -> None:
    # The planner knows that the table is empty, and would look through it for each row that comes.
    conn.execute("truncate next.fct; analyze next.fct; select pg_stat_force_next_flush()")
    rows = [{"n": n, "code": "both", "day": date(2024, 1, 1), "amount": Decimal(n)} for n in range(4000)]
    put(marts, "dim", "", [{"code": "both", "name": "Both"}])
    put(marts, "fct", "_month=2024-01", rows)
    put(marts, RESTRICTED, "", [{"participant_token": "t", "is_restricted": True, "is_changed": False}])
    blocks = "select heap_blks_read + heap_blks_hit from pg_statio_user_tables where relid = 'next.fct'::regclass"
    ((before,),) = conn.execute(blocks).fetchall()
    bringing.bring(conn, marts, None)
    conn.execute("select pg_stat_force_next_flush()")
    ((after,),) = conn.execute(blocks).fetchall()
    assert len(hidden(conn, "fct")) == len(rows)
    assert after - before < 10 * len(rows)


def test_a_mart_that_spark_lacks_is_named_and_nothing_is_brought(conn: psycopg.Connection, marts: Path) -> None:
    put(marts, "dim", "", [{"code": "both", "name": "Other"}])
    before = hidden(conn, "dim")
    with pytest.raises(UserError, match="Spark has no table fct"):
        bringing.bring(conn, marts, None)
    assert hidden(conn, "dim") == before


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Spark cluster runs beside this home: `make spark-up` starts one"):
        place.thrift(Settings(home=tmp_path))
    port = server.free_port()
    with pytest.raises(UserError, match=rf"^Spark's Thrift server 127.0.0.1:{port} does not answer: [^\n]*$"):
        place.thrift(Settings(home=tmp_path, spark_thrift=f"127.0.0.1:{port}"))


@pytest.mark.parametrize("address", ["host", ":10000", "host:port"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no HOST:PORT"):
        Settings(spark_thrift=address)


def test_what_one_engine_built_is_no_ground_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    by_postgresql = state.made_by("d")
    monkeypatch.setenv("KKBC_ENGINE", "spark")
    get_settings.cache_clear()
    built = state.Built(date(2024, 1, 1), date(2024, 1, 1), by_postgresql, "r")
    assert not state.goes_on(built, date(2024, 1, 2), date(2024, 1, 1), state.made_by("d"))
    monkeypatch.undo()
    get_settings.cache_clear()
    assert state.goes_on(built, date(2024, 1, 2), date(2024, 1, 1), state.made_by("d"))


def test_rows_of_spark_go_when_those_of_the_warehouse_change(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    place.forget(settings)
    for part in ("sources/1/raw.registrations", "warehouse/next.db/fct_registration", "conf"):
        (tmp_path / "spark" / part).mkdir(parents=True)
        (tmp_path / "spark" / part / "file").touch()
    (tmp_path / "spark" / "built.json").touch()
    place.forget(settings)
    assert [path.name for path in (tmp_path / "spark").iterdir()] == ["conf"]
