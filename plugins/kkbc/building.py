"""Build: dbt turns the slices in force into marts, in schemas that BI cannot see.

One invocation a layer and night, not one a model: starting dbt costs more than all models of a small night.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import psycopg
from psycopg import pq, sql

from kkbc.errors import UserError
from kkbc.settings import PROJECT_ROOT, get_settings
from kkbc.warehouse import connect

DBT_PROJECT = PROJECT_ROOT / "dbt_project"
LAYERS = ("seeds", "models")
HIDDEN = "next"
ROWS_NAMED = 5
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


def build(layer: str, *, as_of: date, first_business_date: date, build_id: int | None = None) -> list[NodeResult]:
    """Builds `layer` ("seeds" or "models") with its data tests into the hidden schemas, over the rows loaded so far.

    Daily marts reach from `first_business_date` to `as_of` (KPI rule 2). Seeds that have not changed since they were
    last built are left alone, and the result is then empty. Loads wait while a layer is built, so that all its models
    see the same rows. The results are also rows of ops.dbt_result under `build_id`.
    Raises UserError naming the first model or test that failed and why; what BI reads is untouched.
    """
    if layer not in LAYERS:
        raise UserError(f"unknown layer {layer!r}", f"layers are: {', '.join(LAYERS)}")
    with connect("transformer", autocommit=True) as conn:
        conn.execute("select pg_advisory_lock(hashtext('kkbc.build'))")
        digest = _seeds_digest()
        if layer == "seeds" and _seeds_built(conn) == digest:
            return []
        results = [_name_rows(conn, r) for r in _invoke(layer, _environment(conn), as_of, first_business_date)]
        _record(conn, build_id, layer, results)
        for result in results:
            log.info("%s %s in %.2f s", result.status, result.unique_id, result.seconds)
            if result.status == "warn":
                log.warning("dbt %s %s: %s", result.resource_type, result.name, result.message)
            if result.failed:
                raise UserError(
                    f"dbt {result.resource_type} {result.name} failed: {result.message}",
                    f"see ops.dbt_result and {_home() / 'logs' / 'dbt.log'}",
                )
        if layer == "seeds":
            _note_seeds(conn, digest)
    return results


def _invoke(layer: str, environment: Mapping[str, str], as_of: date, first_business_date: date) -> list[NodeResult]:
    """One `dbt build`, in this process, which saves the second layer of a plain night the import."""
    # Here and not above: it takes a second or more, which the many tasks that only pull need not pay.
    from dbt.cli.main import dbtRunner

    days = {"as_of": as_of.isoformat(), "first_business_date": first_business_date.isoformat()}
    arguments = [
        *("--quiet", "--log-level", "none", "--log-level-file", "info", "--no-version-check"),
        "build",
        *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)),
        *("--target-path", str(_home() / "target"), "--log-path", str(_home() / "logs")),
        # Tests between a model and a seed belong to the models.
        *("--select", f"path:{layer}", "--indirect-selection", "cautious" if layer == "seeds" else "eager"),
        *("--exclude-resource-type", "unit_test", "--vars", json.dumps(days)),
        # A key of the database, or the loader, keeps what these tests say; elsewhere dbt has to ask.
        *("--exclude", "tag:guaranteed"),
        # A seed whose columns have changed does not fit its table. It is only built when it has changed.
        *(("--full-refresh",) if layer == "seeds" else ()),
    ]
    with _variables(environment):
        outcome = dbtRunner().invoke(arguments)
    if outcome.exception is not None or outcome.result is None:
        raise UserError(
            f"dbt could not build {layer}: {_cause(str(outcome.exception))}", "mend dbt_project, or the connection"
        )
    return [
        NodeResult(
            unique_id=node.node.unique_id,
            resource_type=str(node.node.resource_type),
            status=str(node.status),
            seconds=float(node.execution_time),
            rows_affected=(node.adapter_response or {}).get("rows_affected"),
            message=_cause(node.message) if node.message else None,
            found=node.node.relation_name if getattr(node.node.config, "store_failures", False) else None,
        )
        for node in outcome.result
    ]


def _cause(message: str) -> str:
    """The line of a dbt message that says what is wrong; later ones may hold rows, the first may but name the model."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    told = [line for line in lines if not line.endswith(")") or " Error in " not in line]
    return (told or lines or ["no message"])[0]


def _name_rows(conn: psycopg.Connection, result: NodeResult) -> NodeResult:
    """The result with the first rows that its test found and stored, when it found some."""
    if result.found is None or result.status not in ("warn", "fail"):
        return result
    # The test's own order: rows that were inserted in it are read in it.
    cursor = conn.execute(sql.SQL("select *, count(*) over () from {}").format(sql.SQL(result.found)))
    names = [column.name for column in cursor.description or []][:-1]
    rows = cursor.fetchmany(ROWS_NAMED)
    told = ["; ".join(" ".join(f"{n}={'null' if v is None else v}" for n, v in zip(names, row, strict=False)) for row in rows)]
    more = int(rows[0][-1]) - len(rows) if rows else 0
    return replace(result, message=f"{told[0]}{f'; and {more} more' if more else ''}")


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


def _seeds_digest() -> str:
    """Digest of everything that decides what the seeds hold: their files, and the types in the project's yml."""
    digest = hashlib.sha256()
    for path in [DBT_PROJECT / "dbt_project.yml", *sorted((DBT_PROJECT / "seeds").iterdir())]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _seeds_built(conn: psycopg.Connection) -> str | None:
    """The digest of the seeds in the hidden schema. It is kept as the schema's comment, so that both go together."""
    row = conn.execute("select obj_description(to_regnamespace(%s), 'pg_namespace')", [HIDDEN]).fetchone()
    return str(row[0]).removeprefix("seeds ") if row and row[0] else None


def _note_seeds(conn: psycopg.Connection, digest: str) -> None:
    conn.execute(sql.SQL("comment on schema {} is {}").format(sql.Identifier(HIDDEN), sql.Literal(f"seeds {digest}")))


def _environment(conn: psycopg.Connection) -> dict[str, str]:
    """How dbt reaches the place that `conn` is connected to: DBT_* for the profile, PG* for the rest (TLS, options)."""
    info = conn.info
    place = {
        "DBT_HOST": info.host,
        "DBT_PORT": str(info.port),
        "DBT_USER": info.user,
        "DBT_PASSWORD": info.password,
        "DBT_DBNAME": info.dbname,
    }
    told = {"host", "hostaddr", "port", "user", "password", "dbname", "application_name", "service", "passfile"}
    rest = {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(info.dsn.encode())
        if option.envvar and option.val and option.keyword.decode() not in told
    }
    rest["PGOPTIONS"] = f"{rest.get('PGOPTIONS', '')} {PLANNER}".strip()
    return {**place, **rest, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
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
