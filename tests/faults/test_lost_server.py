"""The warehouse's server goes away while slices are loaded: a connection is cut, or the whole server stops at once."""

import os
import random
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import psycopg
import pytest

from kkbc.slices.rows import copy_frame
from kkbc.warehouse import migrate, schema, server
from kkbc.warehouse.connection import DATABASE
from tests.conftest import UNSAFE_BUT_FAST, environment

from .stage import Home, Victims, assert_landing_is_whole

CUT = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = current_database() and application_name = 'kkbc loader'"
)
CONFIGURATION = {**UNSAFE_BUT_FAST, "synchronous_commit": "on"}  # what was committed must outlive a stop at once


def assert_broke_off(home: Home, status: int | None) -> None:
    """The pull ended with the error that its connection was lost, and with no person in it."""
    assert status == 1, status
    text = home.log.read_text()
    assert "psycopg.OperationalError" in text or "AdminShutdown" in text or "cannot connect to PostgreSQL" in text, text
    assert "1171011203" not in text
    home.log.unlink()


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(n, marks=pytest.mark.faults) for n in range(2, 20))])
def test_connections_are_cut(seed: int, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    """All sessions of the pull are ended by the server, again and again, until one pull gets through."""
    rng = random.Random(seed)
    cuts = 0
    while True:
        pid = victims.start(home, "pull", *home.pull_arguments())
        with psycopg.connect(home.database, autocommit=True) as conn:
            until = time.monotonic() + 30
            while not conn.execute(CUT.replace("pg_terminate_backend(pid)", "")).fetchall():
                assert time.monotonic() < until
            # Later each time: on a busy machine a pull lasts longer, and one must get through.
            time.sleep(rng.uniform(0, 0.4) + cuts / 50)
            cut = len(conn.execute(CUT).fetchall())
        status = victims.wait(pid)
        if status == 0:
            break
        assert cut, home.log.read_text()
        assert_broke_off(home, status)
        assert_landing_is_whole(home)
        cuts += 1
        assert cuts < 100, "no pull gets through"
    assert home.pulled() == undisturbed


def test_a_copy_that_is_cut_tells_no_row(here: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server says in which row it was, and that row is a person."""
    write = psycopg.Copy.write

    def cut(copy: psycopg.Copy, buffer: Any) -> None:
        write(copy, buffer)
        time.sleep(0.1)  # for the server to be in the middle of it
        with psycopg.connect(here.database) as other:
            other.execute("select pg_terminate_backend(%s)", [copy.connection.info.backend_pid])

    monkeypatch.setattr(psycopg.Copy, "write", cut)
    frame = pl.DataFrame({"nik": [f"117101120390{n:04}" for n in range(5000)]})
    with psycopg.connect(here.database, autocommit=True) as conn:
        conn.execute("create table public.people (nik text)")
        with pytest.raises(psycopg.OperationalError, match=r"COPY into public\.people broke off") as caught:
            copy_frame(conn, ("public", "people"), frame)
    assert "117101" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a server that a test may stop, with a migrated database."""
    folder = tmp_path_factory.mktemp("own")
    running = server.start(folder, configuration=CONFIGURATION)
    try:
        schema.create_database(running, "template_kkbc")
        with environment(KKBC_HOME=str(folder), KKBC_DATABASE_URL=running.conninfo("template_kkbc")):
            migrate()
        yield folder
    finally:
        server.stop(folder)


def stop_at_once(running: server.Server) -> None:
    """Mode immediate: no session ends its work, nothing is written any more."""
    os.kill(running.pid, signal.SIGQUIT)
    psutil.wait_procs([psutil.Process(running.pid)], timeout=30)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.faults) for n in range(1, 10))])
def test_the_server_stops_under_load(
    seed: int, victims: Victims, own_server: Path, tmp_path: Path, deliveries: Path, undisturbed: dict[str, Any]
) -> None:
    """Stopped in the middle of a pull and started again, twice; then comes a pull that nothing disturbs."""
    rng = random.Random(seed)
    running = server.start(own_server, configuration=CONFIGURATION)
    schema.drop_database(running, DATABASE)
    schema.create_database(running, DATABASE, template="template_kkbc")
    home = Home(tmp_path / "home", running.conninfo(DATABASE), deliveries)
    for _ in range(2):
        pid = victims.start(home, "pull", *home.pull_arguments())
        with psycopg.connect(home.database, autocommit=True) as conn:
            until = time.monotonic() + 30
            while not conn.execute("select from ops.attempt where outcome = 'running'").fetchall():
                assert time.monotonic() < until
            time.sleep(rng.uniform(0, 0.3))
        stop_at_once(running)
        status = victims.wait(pid)
        if status != 0:
            assert_broke_off(home, status)
        running = server.start(own_server, configuration=CONFIGURATION)
        home.database = running.conninfo(DATABASE)
    assert victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    assert home.pulled() == undisturbed
