"""What holds for every DAG, whoever adds the next one."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG

from kkbc_play.stack import configuration
from tests.dags.conftest import DAGS

FILES = sorted(DAGS.glob("*.py"))
# The name of a DAG is that of its file, so the ids are known before anything is parsed.
IDS = [path.stem for path in FILES]

# What a DAG file may not import, for every parse of every DAG would pay for it.
HEAVY = (
    "polars",
    "pandas",
    "psycopg",
    "sqlalchemy.orm.session",
    "dbt",
    "great_expectations",
    "httpx",
    "kkbc.nights.run",
    "kkbc.nights.build",
    "kkbc.nights.tasks",
)

# Parses a file as Airflow does, and prints what that imported, what it touched but for modules, and how long it took
# beyond Airflow itself.
PARSE = """
import os, runpy, sys, time
path, heavy = sys.argv[1], sys.argv[2].split(",")
# What any DAG with a calendar costs is Airflow's own: croniter, for one, asks a program how wide the processor is.
import airflow.plugins_manager, pendulum
from airflow.sdk import DAG, Asset, ExceptionRetryPolicy, Param, chain, dag, task
DAG("plain", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"))
before, touched = set(sys.modules), []
libraries = (sys.prefix, sys.base_prefix, "/usr/share/zoneinfo")
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.mkdir", "os.remove"):
        touched.append(event)
    elif event == "open":
        name = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
        if not name.endswith((".py", ".pyc")) and not name.startswith(libraries):
            touched.append("open " + name)
sys.addaudithook(watch)
began = time.perf_counter()
runpy.run_path(path)
seconds = time.perf_counter() - began
print("imported:", *[m for m in heavy if m in sys.modules and m not in before])
print("touched:", *touched)
print(f"{path}: {seconds:.3f} s")
"""


@pytest.fixture(params=IDS)
def dag(request: pytest.FixtureRequest, dags: dict[str, DAG]) -> DAG:
    return dags[request.param]


def test_a_file_holds_the_dag_of_its_name(dags: dict[str, DAG]) -> None:
    assert sorted(dags) == IDS


def test_has_an_owner_a_tier_and_triage_notes(dag: DAG) -> None:
    assert dag.default_args["owner"] != "airflow"
    assert [tag for tag in dag.tags if re.fullmatch(r"tier:[123]", tag)]
    assert dag.doc_md is not None
    assert "### Triage" in dag.doc_md
    for task in dag.tasks:
        assert task.owner == dag.default_args["owner"]


def test_triage_notes_name_every_task(dag: DAG) -> None:
    named = re.findall(r"`([a-z_]+\*?)`", dag.doc_md or "")
    patterns = [re.compile(name.replace("*", ".*")) for name in named]
    for task in dag.tasks:
        assert any(pattern.fullmatch(task.task_id) for pattern in patterns), task.task_id


def test_tasks_give_up_in_time_and_try_again_when_it_helps(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.retries >= 1, task.task_id
        if isinstance(task, HITLOperator):  # it runs for a moment, and then waits for a person
            assert task.execution_timeout is None, task.task_id
            assert timedelta(0) < (task.response_timeout or timedelta(0)) <= timedelta(days=7), task.task_id
            continue
        assert task.execution_timeout is not None, task.task_id
        assert task.execution_timeout <= timedelta(hours=1), task.task_id
        assert task.retry_policy is not None, task.task_id


def test_starts_once_at_a_time_and_never_catches_up_by_itself(dag: DAG) -> None:
    assert dag.max_active_runs == 1
    assert not dag.catchup


def test_mapped_tasks_are_bounded_and_named(dag: DAG) -> None:
    for task in dag.tasks:
        if task.is_mapped:
            assert task.pool != "default_pool", task.task_id
            assert task.partial_kwargs.get("map_index_template"), task.task_id


def test_every_pool_is_one_that_up_makes(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.pool in ("default_pool", configuration.PULL_POOL), task.task_id


def parsed(path: Path, home: Path, heavy: tuple[str, ...]) -> list[str]:
    """What parsing `path` imported of `heavy` and touched; the time is only printed (pytest -rP), machines differ."""
    process = subprocess.run(
        [sys.executable, "-B", "-c", PARSE, str(path), ",".join(heavy)],
        env={"AIRFLOW_HOME": str(home / "airflow"), "KKBC_HOME": str(home / "kkbc"), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    print(process.stdout)
    assert not (home / "kkbc").exists()
    return [line.strip() for line in process.stdout.splitlines() if line.startswith(("imported", "touched"))]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_parsing_is_light_and_touches_nothing(path: Path, tmp_path: Path) -> None:
    assert parsed(path, tmp_path, HEAVY) == ["imported:", "touched:"]


def test_the_plugin_is_light_too_for_every_process_of_airflow_imports_it(tmp_path: Path) -> None:
    plugin = DAGS.parent / "plugins" / "branch_board.py"
    assert parsed(plugin, tmp_path, (*HEAVY, "fastapi.routing", "jinja2", "kkbc.watching.board")) == [
        "imported:",
        "touched:",
    ]


def test_the_watch_over_parsing_sees_what_it_must(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        f"import polars, socket\nopen({str(bad)!r} + 'x', 'w')\nsocket.socket().connect_ex(('127.0.0.1', 9))\n"
    )
    found = parsed(bad, tmp_path, HEAVY)
    assert found == ["imported: polars", f"touched: open {bad}x socket.connect"]
