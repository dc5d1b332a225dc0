"""Lineage: after every layer, OpenLineage events say which model was made of which, column by column.

Events go to the file `home`/lineage/events.jsonl, or to a collector by HTTP, as the setting `lineage` says; Airflow's
own events of tasks go the same way (kkbc_play.stack.configuration). They name tables, columns and SQL, and never hold
rows.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from kkbc.core.connections import get_connection
from kkbc.core.errors import UserError
from kkbc.core.settings import Settings, get_settings
from kkbc.marts import runner
from kkbc.warehouse import connect

NAMESPACE = "kkbc"
PRODUCER = "https://github.com/OpenLineage/OpenLineage/tree/main/integration/dbt"
# A night adds about a megabyte. Airflow opens the file again for each event, so that it may be renamed at any time.
FILE_BYTES = 64 * 2**20
FILES_KEPT = 3

log = logging.getLogger(__name__)


def events_file(settings: Settings) -> Path:
    """Where the events of a home lie, a line each."""
    return settings.home / "lineage" / "events.jsonl"


def transport(settings: Settings) -> dict[str, Any] | None:
    """How events travel, as OpenLineage's own configuration has it; None when they are off.

    The setting is `off`, `file`, or the id of an Airflow connection whose host is the collector's URL and whose
    password, if it has one, is the key for it. Raises UserError for a connection that is not there.
    """
    if settings.lineage == "off":
        return None
    if settings.lineage == "file":
        return {"type": "file", "log_file_path": str(events_file(settings)), "append": True}
    connection = get_connection(settings.lineage)
    connection.need("host")
    url = connection.host if "://" in connection.host else f"http://{connection.host}:{connection.port or 5000}"
    key = {"auth": {"type": "api_key", "apiKey": connection.password}} if connection.password else {}
    return {"type": "http", "url": url, "timeout": 5, **key}


def make_room(settings: Settings) -> None:
    """Makes the folder of the events' file; a file that has grown long becomes an older one, of which few are kept."""
    path = events_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > FILE_BYTES:
        for number in range(FILES_KEPT - 1, 0, -1):
            older = path.with_suffix(f".{number}.jsonl")
            if older.exists():
                older.replace(path.with_suffix(f".{number + 1}.jsonl"))
        path.replace(path.with_suffix(".1.jsonl"))


def send_build(layer: str) -> int:
    """Sends the events of the layer that dbt built last in this home; returns how many.

    A run for the layer, whose parent is the Airflow task when there is one, and one for each model, with its inputs,
    its columns and what they are made of. A collector that cannot be reached costs the night nothing: it is logged.
    """
    settings = get_settings()
    try:
        way = transport(settings)
        if way is None:
            return 0
        if way["type"] == "file":
            make_room(settings)
        with connect("transformer") as conn:
            return _send(layer, conn, way)
    except Exception as error:  # whatever it is, the marts are built and the night goes on
        log.warning("lineage of layer %s was not sent: %s", layer, _error_line(error))
        return 0


def _error_line(error: Exception) -> str:
    """One line that names no address of a collector, for it may hold a key."""
    return str(error).splitlines()[0] if isinstance(error, UserError) else type(error).__name__


def _send(layer: str, conn: psycopg.Connection, way: Mapping[str, Any]) -> int:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.uuid import generate_new_uuid
    from openlineage.common.provider.dbt import DbtLocalArtifactProcessor, ParentRunMetadata

    client = OpenLineageClient(config={"transport": dict(way)})
    processor = DbtLocalArtifactProcessor(
        producer=PRODUCER,
        job_namespace=NAMESPACE,
        project_dir=str(runner.DBT_PROJECT),
        target_path=str(runner.target_folder()),
        skip_errors=True,
        logger=log,
    )
    run_id, job = str(generate_new_uuid()), f"build_{layer}"
    processor.dbt_run_metadata = ParentRunMetadata(run_id, job, NAMESPACE)
    with runner.exported(runner.environment(conn) | _named(conn)):
        events = list(processor.parse().events())
    for event in events:
        _see_through(event)
    if not events:
        return 0
    facets = _parent()
    first, last = min(event.eventTime for event in events), datetime.now(UTC).isoformat()

    failed = any(event.eventType == RunState.FAIL for event in events)
    ended = RunState.FAIL if failed else RunState.COMPLETE
    of_layer = partial(RunEvent, run=Run(run_id, facets), job=Job(NAMESPACE, job), producer=PRODUCER)
    events = [of_layer(eventType=RunState.START, eventTime=first), *events, of_layer(eventType=ended, eventTime=last)]
    for event in events:
        client.emit(event)
    client.close()
    return len(events)


def _named(conn: psycopg.Connection) -> dict[str, str]:
    """A server behind a socket goes by the name localhost: datasets are named by host, and a folder is none."""
    return {"DBT_HOST": "localhost"} if conn.info.host.startswith("/") else {}


# How a model takes its inputs in: `name as (select * from "database"."schema"."table" ...`, or `select
# t.* from ... as t` for the rows that the build touches; how it narrows one: `name as (select other.* from other ...`.
_CTE = r"(\w+) as (?:not materialized |materialized )?\(\s*select (?:\w+\.)?\* from "
IMPORT = re.compile(_CTE + r'"(\w+)"\."(\w+)"\."(\w+)"')
NARROWED = re.compile(_CTE + r"(\w+)\b")


def _see_through(event: Any) -> None:
    """Columns that OpenLineage's parser traces to a `select *` of the model itself are traced to the table behind it.

    What stays unknown is left out, for a name that is no dataset tells a reader nothing.
    """
    query = event.job.facets["sql"].query if "sql" in (event.job.facets or {}) else ""
    text = " ".join(query.split())
    tables = {name: f"{database}.{schema}.{table}" for name, database, schema, table in IMPORT.findall(text)}
    for name, source in NARROWED.findall(text):
        if source in tables:
            tables[name] = tables[source]
    for output in event.outputs or []:
        found = (output.facets or {}).get("columnLineage")
        if found is None:
            continue
        for column in found.fields.values():
            for field in column.inputFields:
                field.name = tables.get(field.name, field.name)
            column.inputFields = [field for field in column.inputFields if field.name.count(".") == 2]
        found.fields = {name: column for name, column in found.fields.items() if column.inputFields}


def _parent() -> dict[str, Any]:
    """The Airflow task that this runs in, as the parent of a run; nothing outside of Airflow."""
    if "airflow.sdk" not in sys.modules or "AIRFLOW_HOME" not in os.environ:
        return {}
    from airflow.providers.openlineage.plugins.macros import lineage_parent_id
    from airflow.sdk import get_current_context
    from openlineage.client.facet_v2 import parent_run

    try:
        task = get_current_context()["ti"]
    except RuntimeError:
        return {}
    namespace, name, run_id = lineage_parent_id(task).split("/")
    return {"parent": parent_run.ParentRunFacet(parent_run.Run(run_id), parent_run.Job(namespace, name))}


def airflow_options(settings: Settings) -> dict[str, object]:
    """The section openlineage of airflow.cfg: the same way, whose folder is made, and no source code of tasks.

    Raises UserError for a connection that is not there.
    """
    way = transport(settings)
    if way is None:
        return {"disabled": True}
    if way["type"] == "file":
        make_room(settings)
    return {
        "transport": json.dumps(way),
        "namespace": NAMESPACE,
        "disable_source_code": True,
        # A thread costs a task less than a process of its own, and cannot strand it.
        "execute_in_thread": True,
    }
