"""Build: dbt turns the slices in force into marts, in schemas that BI cannot see.

One invocation a layer and night, not one a model: starting dbt costs more than all models of a small night. A build
goes on from what the one before left, and recomputes what the slices touch that came since (kkbc.marts.state says when
not).
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import pq, sql

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.masking import without_values
from kkbc.marts import state
from kkbc.marts.parsing import cause, kept, parsed, unable
from kkbc.warehouse import connect, locks
from kkbc.warehouse.locks import Lock

DBT_PROJECT = state.DBT_PROJECT
LAYERS = ("seeds", "models")
HIDDEN = "next"
ROWS_NAMED = 3
# No business date is as old: marts as of this day have no rows of slices.
BEFORE_ALL = "2013-12-31"
# Models join whole tables. Where one side is `row_number() = 1`, PostgreSQL expects a handful of rows and would loop
# over the other side for each: measured 81 s instead of 0.3 s for one model of the fourth default night.
PLANNER = "-c enable_nestloop=off"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeResult:
    """What came of one dbt node: `status` success, pass, warn, error, fail or skipped; `message` one line.

    The message holds no rows, except those of a test that stores them in `found`, because they are about no person.
    """

    unique_id: str
    resource_type: str
    status: str
    seconds: float
    rows_affected: int | None
    message: str | None
    found: str | None = None

    @property
    def name(self) -> str:
        """The model's, seed's or test's own name."""
        return self.unique_id.split(".")[2]

    @property
    def failed(self) -> bool:
        """Whether it stops the build; what dbt then skips does not."""
        return self.status in ("error", "fail")


def build(
    layer: str,
    *,
    as_of: date,
    first_business_date: date,
    build_id: int | None = None,
    full_refresh: bool = False,
    ready: Callable[[psycopg.Connection], None] = lambda conn: None,
) -> list[NodeResult]:
    """Builds `layer` ("seeds" or "models") with its data tests into the hidden schemas, over the rows loaded so far.

    Daily marts reach from `first_business_date` to `as_of` (KPI rule 2). Models are recomputed for what the slices of
    `build_id` touch, and those that belong to no build yet; all of it with `full_refresh`, and where kkbc.marts.state
    finds nothing to go on from.
    Seeds that have not changed since they were last built are left alone, and the result is then empty. Loads wait
    while a layer is built, so that all its models see the same rows. `ready` is called first, when they wait already;
    what it raises stops the build before anything is changed. The results are also rows of ops.dbt_result.
    Raises UserError naming the first model or test that failed and why; what BI reads is untouched.
    """
    if layer not in LAYERS:
        raise UserError(f"unknown layer {layer!r}", f"layers are: {', '.join(LAYERS)}")
    with alone(f"{layer} of build {build_id}"), connect("transformer", autocommit=True) as conn:
        ready(conn)
        if layer == "seeds":
            digest = state.digest(DBT_PROJECT, (DBT_PROJECT / "seeds").iterdir())
            if _seeds_built(conn) == digest:
                return []
            _note_seeds(conn, None)  # for some will be of another digest than the rest until all are built
        variables, project = days(as_of, first_business_date), state.made_by(state.project_digest(DBT_PROJECT))
        before, registry = state.standing(conn), state.registry_digest(conn)
        restrictions = state.restriction_changes(conn)
        if layer == "models":
            if before is not None and not full_refresh and state.goes_on(before, as_of, first_business_date, project):
                variables |= {
                    "built_as_of": before.as_of.isoformat(),
                    "build_id": build_id,
                    "registry_changed": before.registry != registry,
                }
            state.begin(conn)
        results = [_name_rows(conn, result) for result in _make(conn, layer, variables)]
        _record(conn, build_id, layer, results)
        check(results)
        if layer == "seeds":
            _note_seeds(conn, digest)
        else:
            # Read before the models were built: what changes meanwhile is for the next build.
            state.complete(conn, as_of, first_business_date, project, build_id, registry, restrictions)
    return results


def _make(conn: psycopg.Connection, layer: str, variables: Mapping[str, Any]) -> list[NodeResult]:
    """One layer by the engine that the settings name. Seeds are small, and made where readers find them."""
    if layer == "seeds" or get_settings().engine == "postgres":
        return invoke(conn, layer, variables)
    from kkbc.marts.spark.building import build_models

    if "built_as_of" not in variables:
        # The tables that Spark's rows come to: types, checks, comments and keys are those of the contracts.
        check(invoke(conn, layer, {**variables, "as_of": BEFORE_ALL}, tests=False))
    results = build_models(conn, variables)
    if not any(result.failed for result in results):
        # Of all rows of the marts, for Spark alone knows which of them the build touched.
        whole = {name: variables[name] for name in ("as_of", "first_business_date")}
        results += invoke(conn, "models/marts", whole, command="test")
    return results


def alone(what: str) -> AbstractContextManager[None]:
    """Keeps loads and other builds away for the length of a block. Raises Busy."""
    return locks.locked(Lock.BUILD, what, role="transformer")


def days(as_of: date, first_business_date: date) -> dict[str, Any]:
    """The variables that every build needs."""
    return {"as_of": as_of.isoformat(), "first_business_date": first_business_date.isoformat()}


def check(results: list[NodeResult]) -> None:
    """Logs the results. Raises UserError for the first that failed."""
    for result in results:
        log.info("%s %s in %.2f s", result.status, result.unique_id, result.seconds)
        if result.status == "warn":
            # No warning of the log: what a run prints would tell it twice, for the status names it (`data_warnings`).
            log.info("dbt %s %s: %s", result.resource_type, result.name, result.message)
        if result.failed:
            raise UserError(
                f"dbt {result.resource_type} {result.name} failed: {result.message}",
                f"see ops.dbt_result and {_home() / 'logs' / 'dbt.log'}",
            )


def invoke(
    conn: psycopg.Connection,
    layer: str,
    variables: Mapping[str, Any],
    *,
    schema: str = HIDDEN,
    tests: bool = True,
    command: Literal["build", "test"] = "build",
) -> list[NodeResult]:
    """One `dbt build` of a layer in this process, into `schema`, where `conn` is connected to; or its tests alone.

    Without the variable built_as_of all tables are rebuilt. Raises UserError when dbt cannot begin.
    """
    # Here and not above: it takes a second or more, which the many tasks that only pull need not pay.
    from dbt.cli.main import dbtRunner

    left_out = ["unit_test", *([] if tests else ["test"])]
    fresh = command == "build" and (layer == "seeds" or "built_as_of" not in variables)
    arguments = [
        command,
        # Tests between a model and a seed belong to the models.
        *("--select", f"path:{layer}", "--indirect-selection", "cautious" if layer == "seeds" else "eager"),
        *(part for kind in left_out for part in ("--exclude-resource-type", kind)),
        # A key of the database, or the loader, keeps what these tests say; elsewhere dbt has to ask.
        *("--exclude", "tag:guaranteed"),
        *("--vars", json.dumps(dict(variables))),
        # A seed whose columns have changed does not fit its table. It is only built when it has changed.
        *(["--full-refresh"] if fresh else []),
        *_folders(schema),
    ]
    _hush()
    place = {**environment(conn), "DBT_SCHEMA": schema}
    with exported(place):
        outcome = dbtRunner(manifest=parsed(DBT_PROJECT, _folders(schema), place)).invoke(arguments)
    if outcome.exception is not None or outcome.result is None:
        raise unable(layer, outcome.exception)
    return [
        NodeResult(
            unique_id=node.node.unique_id,
            resource_type=str(node.node.resource_type),
            status=str(node.status),
            seconds=float(node.execution_time),
            rows_affected=(node.adapter_response or {}).get("rows_affected"),
            message=cause(node.message) if node.message else None,
            found=node.node.relation_name if getattr(node.node.config, "store_failures", False) else None,
        )
        for node in outcome.result
    ]


def parse_ahead() -> None:
    """Parses the dbt project unless that is done, so that the first build after a change of it finds it parsed.

    Raises UserError when it does not parse.
    """
    with connect("transformer", autocommit=True) as conn:
        place = {**environment(conn), "DBT_SCHEMA": HIDDEN}
    if not kept(DBT_PROJECT, place):
        with exported(place):
            parsed(DBT_PROJECT, _folders(HIDDEN), place)


@cache
def _hush() -> None:
    """Lets no error of PostgreSQL into dbt with the values that it quotes.

    From there they would go to its log, its run_results.json, the lineage and ops.dbt_result.
    """
    from dbt.adapters.postgres.connections import PostgresConnectionManager
    from dbt_common.exceptions import DbtDatabaseError

    handle = PostgresConnectionManager.exception_handler

    @contextmanager
    def discreet(self: Any, query: str) -> Iterator[Any]:
        try:
            with handle(self, query) as handled:
                yield handled
        except DbtDatabaseError as error:
            raise DbtDatabaseError(without_values(error.msg)) from None

    PostgresConnectionManager.exception_handler = discreet


def _folders(schema: str) -> list[str]:
    """Where dbt reads and writes, and how little it says. What is parsed for one schema is of no use to another."""
    return [
        *("--quiet", "--log-level", "none", "--log-level-file", "info", "--no-version-check"),
        *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)),
        *("--target-path", str(target_folder(schema)), "--log-path", str(_home() / "logs")),
    ]


def target_folder(schema: str = HIDDEN) -> Path:
    """Where dbt leaves what it parsed, compiled and found, for `schema`."""
    return _home() / ("target" if schema == HIDDEN else f"target_{schema}")


def _name_rows(conn: psycopg.Connection, result: NodeResult) -> NodeResult:
    """The result with the first rows that its test found and stored, when it found some."""
    if result.found is None or result.status not in ("warn", "fail"):
        return result
    # The test's own order: rows that were inserted in it are read in it.
    cursor = conn.execute(sql.SQL("select *, count(*) over () from {}").format(sql.SQL(result.found)))
    names = [column.name for column in cursor.description or []][:-1]
    rows = cursor.fetchmany(ROWS_NAMED)
    shown = [
        "; ".join(
            " ".join(f"{n}={'null' if v is None else v}" for n, v in zip(names, row, strict=False)) for row in rows
        )
    ]
    more = int(rows[0][-1]) - len(rows) if rows else 0
    place = ".".join(result.found.replace('"', "").split(".")[-2:])
    everywhere = f"; and {more} more, all in {place}" if more else ""
    return replace(result, message=f"{shown[0]}{everywhere}")


def _record(conn: psycopg.Connection, build_id: int | None, layer: str, results: list[NodeResult]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into ops.dbt_result"
            " (build_id, layer, unique_id, resource_type, status, seconds, rows_affected, message)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (build_id, layer, r.unique_id, r.resource_type, r.status, r.seconds, r.rows_affected, r.message)
                for r in results
            ],
        )


def _seeds_built(conn: psycopg.Connection) -> str | None:
    """The digest of the seeds in the hidden schema. It is kept as the schema's comment, so that both go together."""
    row = conn.execute("select obj_description(to_regnamespace(%s), 'pg_namespace')", [HIDDEN]).fetchone()
    return str(row[0]).removeprefix("seeds ") if row and row[0] else None


def _note_seeds(conn: psycopg.Connection, digest: str | None) -> None:
    note = sql.Literal(digest and f"seeds {digest}")
    conn.execute(sql.SQL("comment on schema {} is {}").format(sql.Identifier(HIDDEN), note))


def environment(conn: psycopg.Connection) -> dict[str, str]:
    """How dbt reaches the place that `conn` is connected to: DBT_* for the profile, PG* for the rest (TLS, options)."""
    info = conn.info
    place = {
        "DBT_HOST": info.host,
        "DBT_PORT": str(info.port),
        "DBT_USER": info.user,
        "DBT_PASSWORD": info.password,
        "DBT_DBNAME": info.dbname,
    }
    given = {"host", "hostaddr", "port", "user", "password", "dbname", "application_name", "service", "passfile"}
    rest = {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(info.dsn.encode())
        if option.envvar and option.val and option.keyword.decode() not in given
    }
    rest["PGOPTIONS"] = f"{rest.get('PGOPTIONS', '')} {PLANNER}".strip()
    return {**place, **rest, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}


@contextmanager
def exported(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the length of a block: dbt's profile and libpq read nothing else."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _home() -> Path:
    return get_settings().home / "dbt"
