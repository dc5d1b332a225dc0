"""The same deliveries come to the same marts, made by PostgreSQL and by a Spark cluster, night after night.

The tests are one story and go on from one another: a build of everything, builds that go on from it, and what goes
wrong with the cluster meanwhile.
"""

import json
import random
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from kkbc import nights
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts import state
from kkbc.marts.spark import place
from kkbc.marts.verify import verify_against_rebuild
from kkbc.publishing import publish_marts
from kkbc.slices import hold
from kkbc.warehouse import connect, server
from tests.dbt_project.conftest import current, warehouse
from tests.dbt_project.histories import REGISTERED, RUN, History
from tests.dbt_project.test_incremental import FIRST, LAST, START, build_night, read_count
from tests.spark.conftest import Cluster, full

pytestmark = pytest.mark.spark

HELD = "KC003"
# Functions that answer by the clock or by chance of the worker that is asked.
OF_THE_WORKER = (
    r"\b(now|current_timestamp|localtimestamp|current_date|curdate|unix_timestamp|current_timezone|getdate|sysdate"
    r"|rand|randn|random|uuid|shuffle|monotonically_increasing_id|spark_partition_id)\b\s*\(|\bcurrent_(date|timestamp)\b"
)


@pytest.fixture(scope="module")
def home(cluster: Cluster, pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An empty warehouse whose marts Spark makes."""
    with warehouse(pg, tmp_path_factory) as environment:
        environment |= cluster.up()
        with current(environment):
            yield environment


@pytest.fixture(scope="module")
def history(home: dict[str, str]) -> History:
    """Deliveries by chance, of which more are loaded as the tests go on."""
    made = History(random.Random(11), FIRST, LAST)
    with connect() as owner:
        made.open(owner)
        owner.execute(REGISTERED, [HELD])
    return made


def deliver(history: History, as_of: date) -> None:
    """One night's deliveries."""
    with connect("loader") as loader:
        loader.execute("set role none")
        history.night(loader, as_of)


def differing() -> list[str]:
    """Marts and months that PostgreSQL makes otherwise from the same rows: all marts are rebuilt by it, aside."""
    compared = verify_against_rebuild()
    assert sum(row.rows for row in compared) > 100
    return [f"{row.mart} {row.month}: {row.differing} rows" for row in compared if not row.equal]


def publish(build_id: int, as_of: date) -> dict[str, dict[str, int]]:
    """Publishes what was built; returns rows deleted and inserted by table."""
    with connect("publisher") as conn:
        return dict(publish_marts(conn, build_id=build_id, as_of=as_of).tables)


def published() -> list[tuple[Any, ...]]:
    """What readers see of one mart."""
    with connect() as conn:
        return conn.execute("select * from bi.kpi_branch_daily order by 1, 2").fetchall()


def touched_as_brought() -> bool:
    """Whether the slices that the models look at are those whose rows were brought: each side says so by itself."""
    folder = place.folder(get_settings())
    newest = max((folder / "sources").iterdir(), key=lambda path: int(path.name))
    key = ["feed", "branch_id", "business_date"]
    brought = pl.read_parquet(newest / "raw.arrived" / "*.parquet").select(key).rows()
    touched = pl.read_parquet(place.warehouse(get_settings()) / "next.db" / "int_slices_touched" / "*.parquet")
    return sorted(brought) == sorted(touched.select(key).rows()) != []


def went_on() -> bool:
    """Whether Spark went on from the build before, and made not all anew."""
    request = json.loads((get_settings().home / "dbt" / "target_spark" / "request.json").read_text())
    return request["fresh"] is False


def test_a_first_night_makes_all_marts_as_postgresql_does(history: History) -> None:
    deliver(history, START)
    deliver(history, START)
    build_id = build_night(START)
    assert differing() == []
    changed = publish(build_id, START)
    assert changed["bi_detail.fct_contribution"]["inserted"] > 10
    with connect("transformer") as conn:
        standing = state.standing(conn)
        assert standing is not None
        assert standing.project.startswith("spark ")
        # The tables of PostgreSQL's own steps are there, and empty: it built none of this.
        assert read_count(conn, "int_cells_counted") == 0
        tests = conn.execute(
            "select count(*) from ops.dbt_result"
            " where build_id = %s and layer = 'models' and resource_type = 'test' and status = 'pass'",
            [build_id],
        ).fetchone()
    assert tests is not None
    assert tests[0] > 20


def test_no_figure_depends_on_the_clock_of_a_worker(history: History) -> None:
    """By the SQL that Spark was given, for workers whose clocks are apart are no test that ends."""
    run = get_settings().home / "dbt" / "target_spark" / "run"
    statements = {path.name: path.read_text() for path in run.rglob("models/**/*.sql")}
    assert len(statements) > 50
    assert re.search(OF_THE_WORKER, "select current_date")
    assert re.search(OF_THE_WORKER, "select now() as t")
    assert {
        name: found[0] for name, text in statements.items() if (found := re.search(OF_THE_WORKER, text, re.I))
    } == {}


def test_later_nights_go_on_from_what_spark_keeps(history: History) -> None:
    """Late slices, revisions, voids, a restriction, days to come, and a branch that the gate holds."""
    as_of = START + timedelta(days=9)
    with connect("loader") as loader:
        loader.execute("set role none")
        history.night(loader, as_of)
        for feed in ("pendaftaran", "iuran"):
            history._deliver(loader, feed, HELD, START, 1)
    audited = nights.open_build(RUN)
    with connect("loader", autocommit=True) as loader:
        assert len(hold(loader, audited, HELD, {})) == 2
    build_id = build_night(as_of)
    assert differing() == []
    assert went_on()
    assert touched_as_brought()
    changed = publish(build_id, as_of)
    assert sum(table["inserted"] for table in changed.values()) > 0
    with connect() as conn:
        rows = conn.execute("select count(*) from bi_detail.fct_contribution").fetchone()
    assert rows is not None
    assert changed["bi_detail.fct_contribution"]["inserted"] < rows[0]


def test_a_worker_killed_during_the_build_changes_no_figure(history: History, cluster: Cluster) -> None:
    as_of = START + timedelta(days=24)
    deliver(history, as_of)
    with cluster.killed_during_the_build("spark-worker-1"):
        build_night(as_of)
    assert not cluster.alive("spark-worker-1")
    assert differing() == []
    assert went_on()
    cluster.up()
    assert cluster.alive("spark-worker-1")


def test_disks_of_all_workers_that_are_full_are_one_line(history: History, cluster: Cluster) -> None:
    if not cluster.small_disks:
        pytest.skip("only root may mount the small disks that this needs")
    before = published()
    as_of = START + timedelta(days=26)
    with ExitStack() as filled:
        for disk in cluster.small_disks:
            filled.enter_context(full(disk))
        with pytest.raises(UserError, match=r"No space left on device[^\n]*$"):
            build_night(as_of)
    nothing_came_of_it(before)


def test_a_thrift_server_that_ends_during_the_build_is_one_line(history: History, cluster: Cluster) -> None:
    before = published()
    with cluster.killed_during_the_build("spark-thrift"), pytest.raises(UserError) as raised:
        build_night(START + timedelta(days=26))
    one_line(raised.value, "ended during the build")
    nothing_came_of_it(before)


def test_a_dead_thrift_server_is_one_line(history: History, cluster: Cluster, home: dict[str, str]) -> None:
    if cluster.alive("spark-thrift"):
        cluster.kill("spark-thrift")
    before = published()
    with pytest.raises(UserError) as raised:
        build_night(START + timedelta(days=26))
    one_line(raised.value, f"Thrift server {home['KKBC_SPARK_THRIFT']} does not answer")
    nothing_came_of_it(before)


def one_line(error: UserError, says: str) -> None:
    """What a user is told is one line, and it says this."""
    assert str(error).splitlines() == [str(error)]
    assert says in str(error)


def nothing_came_of_it(before: list[tuple[Any, ...]]) -> None:
    """Readers see what they saw, and no build is gone on from."""
    assert published() == before
    with connect("transformer") as conn:
        assert state.standing(conn) is None


def test_after_all_that_a_build_makes_all_anew(history: History, cluster: Cluster, home: dict[str, str]) -> None:
    """Half a file, as a killed worker leaves it, is in the way of none, nor is a worker whose disk is full."""
    as_of = START + timedelta(days=26)
    for table in ("fct_contribution", "stg_registrations"):
        for folder in place.warehouse(get_settings()).glob(f"*.db/{table}"):
            half = folder / "_month=2024-01" / "part-00000-half.snappy.parquet"
            half.parent.mkdir(exist_ok=True)
            half.write_bytes(b"PAR1 and then no more")
    deliver(history, as_of)
    with current({**home, **cluster.up()}), ExitStack() as filled:
        # Only root may mount the small disks that this needs.
        for disk in cluster.small_disks[:1]:
            filled.enter_context(full(disk))
        publish(build_night(as_of), as_of)
        assert not went_on()
        assert differing() == []
