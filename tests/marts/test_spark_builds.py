"""What a build by Spark goes on from, and whom it refuses: without a cluster, dbt and the rows are left out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from filelock import FileLock

from kkbc.core.errors import UserError
from kkbc.marts.runner import NodeResult
from kkbc.marts.spark import building, place
from kkbc.warehouse import connect, server
from tests.dbt_project.conftest import current, warehouse

FIRST = {"as_of": "2024-01-01", "first_business_date": "2024-01-01"}
NEXT = {"as_of": "2024-01-02", "first_business_date": "2024-01-01", "built_as_of": "2024-01-01", "build_id": 2}


@pytest.fixture
def conn(pg: server.Server, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[psycopg.Connection]:
    with warehouse(pg, tmp_path_factory) as environment:
        shared = {"KKBC_ENGINE": "spark", "KKBC_SPARK_FOLDER": str(tmp_path / "shared")}
        with current(environment | shared), connect(autocommit=True) as opened:
            yield opened


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The variables that dbt was given, build by build; `None` of it runs."""
    given: list[dict[str, Any]] = []

    def run(settings: Any, thrift: Any, variables: dict[str, Any], tables: Any) -> list[NodeResult]:
        given.append(dict(variables))
        return [NodeResult("model.kkbc.m", "model", variables.get("status", "success"), 0, None, None)]

    monkeypatch.setattr(place, "thrift", lambda settings: place.Thrift("spark.example", 10000))
    monkeypatch.setattr(building, "export", lambda conn, variables, folder: {})
    monkeypatch.setattr(building, "_run", run)
    monkeypatch.setattr(building.bringing, "bring", lambda conn, warehouse, before: {"fct": {"2024-01": ["a"]}})
    return given


def test_a_build_goes_on_from_the_one_before(conn: psycopg.Connection, asked: list[dict[str, Any]]) -> None:
    building.build_models(conn, FIRST)
    building.build_models(conn, NEXT)
    assert asked == [FIRST, NEXT]


def test_other_models_are_made_anew(
    conn: psycopg.Connection, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that a model has got is in none of the files of before."""
    building.build_models(conn, FIRST)
    monkeypatch.setattr(building, "project_digest", lambda: "another")
    building.build_models(conn, NEXT)
    assert asked == [FIRST, {"as_of": "2024-01-02", "first_business_date": "2024-01-01"}]


def test_marts_of_another_day_are_not_gone_on_from(conn: psycopg.Connection, asked: list[dict[str, Any]]) -> None:
    building.build_models(conn, FIRST)
    building.build_models(conn, {**NEXT, "built_as_of": "2023-12-31"})
    assert "built_as_of" not in asked[1]


def test_a_build_that_failed_is_not_gone_on_from(conn: psycopg.Connection, asked: list[dict[str, Any]]) -> None:
    building.build_models(conn, FIRST)
    building.build_models(conn, {**NEXT, "status": "error"})
    building.build_models(conn, NEXT)
    assert ["built_as_of" in variables for variables in asked] == [False, True, False]


def test_one_build_at_a_time_works_in_a_folder(
    conn: psycopg.Connection, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    with FileLock(tmp_path / "shared" / ".build.lock"), pytest.raises(UserError) as raised:
        building.build_models(conn, FIRST)
    assert str(raised.value) == f"another build works in {tmp_path}/shared: wait for it, or name another folder"
    assert asked == []
    building.build_models(conn, FIRST)


def test_the_folder_of_another_warehouse_is_refused(
    conn: psycopg.Connection,
    asked: list[dict[str, Any]],
    pg: server.Server,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    building.build_models(conn, FIRST)
    noted = (tmp_path / "shared" / "built.json").read_text()
    with warehouse(pg, tmp_path_factory) as other:
        shared = {"KKBC_ENGINE": "spark", "KKBC_SPARK_FOLDER": str(tmp_path / "shared")}
        with current(other | shared), connect(autocommit=True) as opened, pytest.raises(UserError) as raised:
            building.build_models(opened, FIRST)
    assert str(raised.value) == (
        f"{tmp_path}/shared holds what Spark built for another warehouse: name another folder: KKBC_SPARK_FOLDER"
    )
    assert len(asked) == 1
    assert (tmp_path / "shared" / "built.json").read_text() == noted
    assert json.loads(noted)["as_of"] == "2024-01-01"


STAGE = (
    "org.apache.hive.service.cli.HiveSQLException: Error running query: org.apache.spark.SparkException: Job aborted"
)
TASK = "Lost task 0.1 in stage 3.0 (TID 9) (127.0.0.1 executor 1): java.io.IOException: No space left on device"
JAVA = "\tat org.apache.spark.storage.DiskBlockObjectWriter.write(DiskBlockObjectWriter.scala:1)"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            f"{STAGE} due to stage failure: Task 0 in stage 3.0 failed 8 times, most recent failure: {TASK}\n{JAVA}",
            TASK,
        ),
        (
            f"{STAGE} due to stage failure: Aborting TaskSet 3.0 because task 0 (partition 0)\n"
            f"cannot run anywhere due to node and executor excludeOnFailure.\nMost recent failure:\n{TASK}\n{JAVA}",
            TASK,
        ),
        ("Runtime Error\n  Error running query: [SOME_ERROR] what is wrong\n  at java", "[SOME_ERROR] what is wrong"),
    ],
)
def test_of_a_failure_that_is_said_which_a_task_failed_of(message: str, said: str) -> None:
    assert building._cause(message) == said.rpartition("executor 1): ")[2]
