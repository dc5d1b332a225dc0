"""A build by Spark: what arrived is exported, dbt makes the marts on the cluster, and they come to the warehouse.

The same models as for PostgreSQL, in an environment of their own. What Spark keeps is gone on from when all of it is of
one build, which `built.json` says; it is gone while a build is under way, so that what a kill leaves is made anew.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from filelock import FileLock, Timeout

from kkbc.core.errors import UserError
from kkbc.core.files import write_private
from kkbc.core.settings import PROJECT_ROOT, Settings, get_settings
from kkbc.marts.parsing import cause
from kkbc.marts.runner import NodeResult
from kkbc.marts.spark import bringing, place
from kkbc.marts.spark.sources import export
from kkbc.marts.state import DBT_PROJECT, project_digest

PROGRAM = PROJECT_ROOT / "spark" / "build.py"


def build_models(conn: psycopg.Connection, variables: Mapping[str, Any]) -> list[NodeResult]:
    """Makes all models by Spark and brings the marts to the hidden schema, where `conn` is connected to.

    With the variable built_as_of both go on from the build before, where Spark has that one; else all is made anew.
    Raises UserError when the cluster cannot be reached, ends meanwhile, or its folder belongs to another warehouse.
    Results of models that failed are returned, and nothing is brought then.
    """
    settings = get_settings()
    thrift = place.thrift(settings)
    with _alone(settings):
        folder = place.folder(settings)
        whose = _warehouse_id(conn)
        before = _standing(folder, whose)
        if before is None or before["as_of"] != variables.get("built_as_of") or before["project"] != project_digest():
            variables = days_of(variables)
        goes_on = "built_as_of" in variables
        _note(folder, {"warehouse": whose})
        shutil.rmtree(folder / "sources", ignore_errors=True)
        number = 0 if before is None else int(before["number"]) + 1
        # Another place each time: Spark remembers which files a folder holds.
        tables = export(conn, variables, folder / "sources" / str(number))
        results = _run(settings, thrift, variables, tables)
        if not any(result.failed for result in results):
            known = before["brought"] if before is not None and goes_on else None
            brought = bringing.bring(conn, place.warehouse(settings), known)
            done = {"warehouse": whose, "as_of": variables["as_of"], "number": number, "project": project_digest()}
            _note(folder, {**done, "brought": brought})
    return results


def days_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a build that makes everything anew."""
    return {name: variables[name] for name in ("as_of", "first_business_date")}


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Keeps two installations from building in one folder at a time."""
    folder = place.folder(settings)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(folder / ".build.lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"another build works in {folder}", "wait for it, or name another folder") from error


def _warehouse_id(conn: psycopg.Connection) -> str:
    row = conn.execute(
        "select concat_ws('/', (select system_identifier from pg_control_system()), current_database())"
    ).fetchone()
    assert row is not None
    return str(row[0])


def _standing(folder: Path, whose: str) -> dict[str, Any] | None:
    """What the last whole build in the folder was; None where none is.

    Raises UserError for that of another warehouse.
    """
    try:
        noted: dict[str, Any] = json.loads((folder / "built.json").read_text())
    except FileNotFoundError:
        return None
    if noted["warehouse"] != whose:
        raise UserError(
            f"{folder} holds what Spark built for another warehouse", "name another folder: KKBC_SPARK_FOLDER"
        )
    return noted if "as_of" in noted else None


def _note(folder: Path, noted: Mapping[str, Any]) -> None:
    write_private(folder / "built.json", json.dumps(dict(noted)))


def _run(
    settings: Settings, thrift: place.Thrift, variables: Mapping[str, Any], tables: Mapping[str, Path]
) -> list[NodeResult]:
    """Runs dbt on the cluster. Raises UserError when it did not come to build anything."""
    if not place.DBT.exists():
        raise UserError(
            f"Spark's environment {place.ENVIRONMENT} is not there",
            "`make spark-up` builds it; in containers the image kkbc-spark has it",
        )
    target = settings.home / "dbt" / "target_spark"
    fresh = "built_as_of" not in variables
    options = [
        *("--quiet", "--log-level", "none", "--log-level-file", "info", "--no-version-check", "--target", "spark"),
        *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)),
        *("--target-path", str(target), "--log-path", str(settings.home / "dbt" / "logs" / "spark")),
    ]
    build = [
        *("--select", "path:models", "--exclude-resource-type", "unit_test", "--exclude-resource-type", "test"),
        *("--vars", json.dumps(dict(variables)), *(["--full-refresh"] if fresh else [])),
    ]
    request = {
        "host": thrift.host,
        "port": thrift.port,
        "warehouse": str(place.warehouse(settings)),
        "fresh": fresh,
        "parent": os.getpid(),
        "tables": {name: str(folder) for name, folder in tables.items()},
        "parse": ["parse", *options],
        "build": ["build", *options, *build],
    }
    target.mkdir(parents=True, exist_ok=True)
    (target / "run_results.json").unlink(missing_ok=True)
    if fresh:
        # dbt parses all of the project, as kkbc.marts.parsing does for another state of it.
        (target / "partial_parse.msgpack").unlink(missing_ok=True)
    write_private(target / "request.json", json.dumps(request))
    environment = {"DBT_HOST": thrift.host, "DBT_PORT": str(thrift.port), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = subprocess.run(
        [place.DBT.with_name("python"), PROGRAM, target / "request.json"],
        env={**place.plain_environment(), **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if not (target / "run_results.json").exists():
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        raise UserError(
            f"Spark at {thrift.host}:{thrift.port} could not build: {cause(last)}",
            place.AGAIN,
        )
    found = json.loads((target / "run_results.json").read_text())["results"]
    results = [
        NodeResult(
            unique_id=node["unique_id"],
            resource_type=node["unique_id"].partition(".")[0],
            status=node["status"],
            seconds=float(node["execution_time"]),
            rows_affected=None,
            message=_cause(node["message"]) if node["message"] else None,
        )
        for node in found
    ]
    if any(result.failed for result in results) and not place.answers(thrift.host, thrift.port):
        raise UserError(f"Spark's Thrift server {thrift.host}:{thrift.port} ended during the build", place.AGAIN)
    return results


def _cause(message: str) -> str:
    """The line of an error that says what is wrong, without the Java around it."""
    lines = message.splitlines()
    # What a task failed of stands behind what Spark did about it.
    said = [line.rpartition("): ")[2] for line in lines if "Lost task " in line]
    said += [line.rpartition("Error running query: ")[2] for line in lines if "running query: " in line]
    return cause(said[0] if said else message)
