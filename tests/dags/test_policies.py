"""What holds for every DAG, whoever adds the next one."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG

from tests.dags.conftest import DAGS

FILES = sorted(DAGS.glob("*.py"))
# The name of a DAG is that of its file, so the ids are known before anything is parsed.
IDS = [path.stem for path in FILES]

HEAVY = ("polars", "pandas", "psycopg", "sqlalchemy.orm.session", "dbt", "great_expectations", "httpx", "kkbc.night")

PARSE = """
import runpy, sys
from pathlib import Path
path, heavy = sys.argv[1], sys.argv[2].split(",")
import airflow.sdk
before = set(sys.modules)
runpy.run_path(path)
print("imported:", *[m for m in heavy if m in sys.modules and m not in before])
touched = []
def watch(event, arguments):
    if event in ("socket.connect", "subprocess.Popen", "os.system", "os.listdir", "os.scandir"):
        touched.append(event)
    elif event == "open" and not str(arguments[0]).endswith((".py", ".pyc")):
        touched.append(f"open {arguments[0]}")
sys.addaudithook(watch)
runpy.run_path(path)
print("touched:", *touched)
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


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_parsing_is_light_and_touches_nothing(path: Path, tmp_path: Path) -> None:
    parsed = subprocess.run(
        [sys.executable, "-c", PARSE, str(path), ",".join(HEAVY)],
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line.strip() for line in parsed.stdout.splitlines() if line.startswith(("imported", "touched"))]
    assert lines == ["imported:", "touched:"]
