"""The dumps of Airflow's and Superset's databases, taken and restored by the program of their service."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from kkbc.warehouse import schema, server
from tests.databases import database

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "backup_metadata.py"
NAMES = ("airflow", "superset")


@pytest.fixture
def program() -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("backup_metadata", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(pg: server.Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two databases with a table each, and a folder for the backups."""
    with database(pg, "template0") as airflow, database(pg, "template0") as superset:
        for name, rows in ((airflow, 3), (superset, 5)):
            with psycopg.connect(pg.conninfo(name)) as conn:
                conn.execute("create table note as select generate_series(1, %s) as n", [rows])
        yield {
            "KKBC_BACKUP_TO": str(tmp_path / "backups"),
            "METADATA_OF_AIRFLOW": pg.conninfo(airflow),
            "METADATA_OF_SUPERSET": pg.conninfo(superset),
        }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program with these variables."""
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def dumps(environment: dict[str, str]) -> list[str]:
    """All files below the folder of the backups."""
    folder = Path(environment["KKBC_BACKUP_TO"])
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_dumped_comes_back(pg: server.Server, environment: dict[str, str]) -> None:
    done = run(environment, "now")
    assert done.returncode == 0, done.stderr
    assert [name.rsplit("-", 1)[0] for name in dumps(environment)] == [f"metadata/{name}" for name in NAMES]
    folder = Path(environment["KKBC_BACKUP_TO"])
    assert {(folder / name).stat().st_mode & 0o777 for name in dumps(environment)} == {0o600}
    for name, rows in zip(NAMES, (3, 5), strict=True):
        target = f"restored_{name}"
        schema.create_database(pg, target, template="template0")
        try:
            done = run(environment, "restore", name, target)
            assert done.returncode == 0, done.stderr
            with psycopg.connect(pg.conninfo(target)) as conn:
                assert conn.execute("select count(*), max(n) from note").fetchone() == (rows, rows)
            again = run(environment, "restore", name, target)
            assert again.returncode == 1, "it was not empty"
        finally:
            schema.drop_database(pg, target)


def test_a_database_that_does_not_answer_leaves_no_dump_and_tells_no_password(environment: dict[str, str]) -> None:
    nowhere = "postgresql://airflow:verysecret@127.0.0.1:1/airflow"
    done = run({**environment, "METADATA_OF_AIRFLOW": nowhere}, "now")
    assert done.returncode == 1
    assert "verysecret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert dumps(environment) == []


def test_the_oldest_go_and_one_a_day_is_due(
    environment: dict[str, str], program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    now = datetime.now(UTC)
    assert program.is_due("airflow", now)
    folder = Path(environment["KKBC_BACKUP_TO"]) / "metadata"
    folder.mkdir(parents=True)
    for days in range(1, 21):
        (folder / f"airflow-{now - timedelta(days=days):{program.STAMP}}.dump").touch()
    assert program.is_due("airflow", now)
    assert not program.is_due("airflow", now - timedelta(hours=2))
    program.dump("airflow")
    assert not program.is_due("airflow", now)
    left = program.dumps("airflow")
    assert len(left) == program.KEPT
    assert Path(left[0]).name == f"airflow-{now - timedelta(days=program.KEPT - 1):{program.STAMP}}.dump"


def test_the_service_dumps_at_once_and_ends_when_it_is_stopped(environment: dict[str, str]) -> None:
    command = [sys.executable, str(SCRIPT), "watch"]
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE) as service:
        until = time.monotonic() + 60
        while len([name for name in dumps(environment) if "partial" not in name]) < len(NAMES):
            assert time.monotonic() < until, "it dumped nothing"
            time.sleep(0.1)
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
    assert len(dumps(environment)) == len(NAMES)


def test_what_is_none_of_its_words_is_refused(environment: dict[str, str]) -> None:
    assert run(environment, "restore", "warehouse", "x").returncode == 2
    assert run({**environment, "KKBC_BACKUP_TO": ""}, "now").returncode == 1
