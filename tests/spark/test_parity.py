"""The same deliveries come to the same marts, made by PostgreSQL and by a Spark cluster, night after night."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta

import psutil
import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts import state
from kkbc.marts.spark import place
from kkbc.marts.verify import verify_against_rebuild
from kkbc.publishing import publish_marts
from kkbc.slices import hold
from kkbc.warehouse import connect, server
from kkbc_play.stack import processes
from tests.dbt_project.conftest import current, warehouse
from tests.dbt_project.histories import REGISTERED, RUN, History
from tests.dbt_project.test_incremental import FIRST, LAST, START, build_night, read_count
from tests.spark.conftest import Cluster

pytestmark = pytest.mark.spark

HELD = "KC003"
WORKER = "spark-worker-1"


@pytest.fixture(scope="module")
def home(cluster: Cluster, pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An empty warehouse whose marts Spark makes."""
    with warehouse(pg, tmp_path_factory) as environment:
        environment |= cluster.up()
        with current(environment):
            yield environment


@pytest.fixture(scope="module")
def history(home: dict[str, str]) -> History:
    """Deliveries by chance, of which the first nights are loaded as the tests go on."""
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


def test_later_nights_go_on_from_what_spark_keeps(history: History) -> None:
    """Late slices, revisions, voids, a restriction, days to come, and a branch that the gate holds."""
    as_of = START + timedelta(days=9)
    marker = place.warehouse(get_settings()) / "next.db" / "dim_channel"
    assert marker.is_dir()
    untouched = {path.name for path in (marker.parent / "fct_contribution").rglob("*.parquet")}
    with connect("loader") as loader:
        loader.execute("set role none")
        history.night(loader, as_of)
        for feed in ("pendaftaran", "iuran"):
            history._deliver(loader, feed, HELD, START, 1)
    with connect() as owner:
        owner.execute("update ops.slice set build_id = 999999 where build_id is null and branch_id = %s", [HELD])
    with connect("loader", autocommit=True) as loader:
        assert hold(loader, 999999, HELD, {})
    build_id = build_night(as_of)
    assert differing() == []
    left = {path.name for path in (marker.parent / "fct_contribution").rglob("*.parquet")}
    assert untouched & left, "no month was left as it was"
    changed = publish(build_id, as_of)
    assert sum(table["inserted"] for table in changed.values()) > 0
    with connect() as conn:
        rows = conn.execute("select count(*) from bi_detail.fct_contribution").fetchone()
    assert rows is not None
    assert changed["bi_detail.fct_contribution"]["inserted"] < rows[0]


def test_a_worker_killed_during_the_build_changes_no_figure(history: History, cluster: Cluster) -> None:
    as_of = START + timedelta(days=24)
    deliver(history, as_of)
    killed: list[bool] = []
    log = get_settings().home / "dbt" / "logs" / "spark" / "dbt.log"

    def kill() -> None:
        """Ends a worker and its executor when the build has begun to make facts."""
        at = log.stat().st_size
        while b"START sql" not in log.read_bytes()[at:]:
            time.sleep(0.1)
        worker = processes.find(WORKER, cluster.home / "run")
        assert worker is not None
        for process in [worker, *worker.children(recursive=True)]:
            os.kill(process.pid, signal.SIGKILL)
        killed.append(True)

    watcher = threading.Thread(target=kill, daemon=True)
    watcher.start()
    build_night(as_of)
    watcher.join(timeout=1)
    assert killed
    assert processes.find(WORKER, cluster.home / "run") is None
    assert differing() == []


def test_a_dead_thrift_server_is_one_clear_line_and_the_next_night_makes_all_anew(
    history: History, cluster: Cluster, home: dict[str, str]
) -> None:
    with connect() as conn:
        before = conn.execute("select * from bi.kpi_national_daily order by 1").fetchall()
    thrift = processes.find("spark-thrift", cluster.home / "run")
    assert thrift is not None
    for process in [thrift, *thrift.children(recursive=True)]:
        process.kill()
    psutil.wait_procs([thrift], timeout=10)
    as_of = START + timedelta(days=25)
    with pytest.raises(UserError) as raised:
        build_night(as_of)
    assert str(raised.value).splitlines() == [str(raised.value)]
    assert f"Thrift server {home['KKBC_SPARK_THRIFT']} does not answer" in str(raised.value)
    with connect("transformer") as conn:
        assert conn.execute("select * from bi.kpi_national_daily order by 1").fetchall() == before
        assert state.standing(conn) is None
    with current({**home, **cluster.up()}):
        build_night(as_of)
        assert differing() == []
        build_night(as_of + timedelta(days=1))


def test_a_folder_of_another_warehouse_is_refused(history: History) -> None:
    noted = place.folder(get_settings()) / "built.json"
    told = noted.read_text()
    try:
        noted.write_text(told.replace('"warehouse": "', '"warehouse": "another '))
        with pytest.raises(UserError, match="built for another warehouse"):
            build_night(START + timedelta(days=26))
        assert RUN
    finally:
        noted.write_text(told)
