"""Up and down: the embedded server, the warehouse and Airflow of one home folder."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psycopg
from filelock import FileLock
from psycopg import sql

from kkbc.core import local_airflow
from kkbc.core.errors import UserError
from kkbc.core.home import make_home
from kkbc.core.local_airflow import Airflow
from kkbc.core.settings import Settings, get_settings
from kkbc.nights.prepare import prepare
from kkbc.warehouse import schema, server
from kkbc_play.stack import branches, configuration, processes, spark, superset
from kkbc_play.stack.api import Api

# Their logs are read from the folder, so nobody needs to serve them.
COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
DAGS = (
    "pull_branches",
    "build_marts",
    "retry_quarantine",
    "rollback_publication",
    "watch_deadline",
    "maintenance",
    "backup",
    "erase_persons",
)
READY_SECONDS = 180

Say = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """One part of the stack: `running`, and where it is to be found."""

    name: str
    running: bool
    detail: str


def up(say: Say = lambda _: None) -> Airflow:
    """Starts whatever is not running of the current home, and waits until all of it is ready. Idempotent.

    `say` gets a line for each step. Raises UserError naming the part that does not start.
    """
    settings = get_settings()
    home = settings.home
    make_home(home)
    with FileLock(home / ".stack.lock"):
        run = home / "run"
        run.mkdir(exist_ok=True)
        alive = {name for name in COMPONENTS if processes.find(name, run)}
        port = configuration.port_of(settings, running="api-server" in alive)
        postgres = server.start(home)
        say(f"postgres: running, port {postgres.port}")
        airflow = configuration.configure(settings, postgres, port)
        _prepare_databases(settings, postgres, say)
        asked_at = datetime.now(UTC)
        for name, arguments in COMPONENTS.items():
            if name not in alive:
                # The rest of one that was killed would go on working for it.
                processes.stop([name], run)
                command = [sys.executable, "-m", "airflow", *arguments]
                processes.start(name, command, run, configuration.environment(settings))
        _wait_until_ready(Api(airflow), run, asked_at, fresh=set(COMPONENTS) - alive, say=say)
        return airflow


def down() -> list[str]:
    """Stops everything of the current home; returns the names of what was running. Idempotent."""
    settings = get_settings()
    home = settings.home
    if not home.is_dir():
        return []
    with FileLock(home / ".stack.lock"):
        stopped = processes.stop((*COMPONENTS, superset.NAME), home / "run")
        stopped += spark.down(settings)
        if branches.stop(settings):
            stopped.append(branches.NAME)
        if server.stop(home):
            stopped.append("postgres")
        return stopped


def states() -> list[State]:
    """What of the current home is running; those of played branches, Superset and Spark only when they are."""
    settings = get_settings()
    postgres = server.find(settings.home)
    found = [State("postgres", postgres is not None, f"pid {postgres.pid}, port {postgres.port}" if postgres else "")]
    airflow = local_airflow.find(settings)
    for name in COMPONENTS:
        process = processes.find(name, settings.home / "run")
        detail = f"pid {process.pid}" if process else ""
        if process and airflow and name == "api-server":
            detail += f", port {airflow.port}"
        found.append(State(name, process is not None, detail))
    for name in (branches.NAME, superset.NAME):
        if process := processes.find(name, settings.home / "run"):
            found.append(State(name, True, f"pid {process.pid}"))
    found += [State(name, True, f"pid {process.pid}") for name, process in spark.running(settings).items()]
    return found


def _prepare_databases(settings: Settings, postgres: server.Server, say: Say) -> None:
    """Warehouse and Airflow's database, migrated side by side, for they share nothing."""
    migration = _start_airflow_migration(settings, postgres)
    try:
        prepare()
        say("warehouse: migrated")
    finally:
        output = migration.communicate()[0] if migration is not None else ""
    if migration is not None:
        if migration.returncode:
            last = (output.strip().splitlines() or ["no output"])[-1]
            raise UserError(f"Airflow's database cannot be migrated: {last}", "is the disk full? `kkbc doctor` tells")
        _note_airflow_version(postgres)
        say("airflow database: migrated")


def _start_airflow_migration(settings: Settings, postgres: server.Server) -> subprocess.Popen[str] | None:
    """`airflow db migrate` takes seconds even with nothing to do, so the database's comment says what it stands at."""
    name = configuration.DATABASE
    with psycopg.connect(postgres.conninfo(), autocommit=True) as conn:
        if not conn.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone():
            conn.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        schema.create_database(postgres, name)
        conn.execute(sql.SQL("alter database {0} owner to {0}").format(sql.Identifier(name)))
        noted = conn.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", [name]
        ).fetchone()
    if noted == (_airflow_version(),):
        return None
    return subprocess.Popen(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(configuration.environment(settings)),
        cwd="/",
    )


def _note_airflow_version(postgres: server.Server) -> None:
    with psycopg.connect(postgres.conninfo(), autocommit=True) as conn:
        statement = sql.SQL("comment on database {} is {}")
        conn.execute(statement.format(sql.Identifier(configuration.DATABASE), sql.Literal(_airflow_version())))


def _airflow_version() -> str:
    return f"apache-airflow {version('apache-airflow')}"


def _wait_until_ready(api: Api, run: Path, since: datetime, *, fresh: set[str], say: Say) -> None:
    """Until each component reports a heartbeat, the pool is there and both DAGs are parsed."""
    waiting = set(COMPONENTS)
    deadline = time.monotonic() + READY_SECONDS
    while waiting:
        for name in COMPONENTS:
            if processes.find(name, run) is None:
                raise UserError(
                    f"Airflow's {name} ended at once: {processes.last_line(name, run)}", f"read {run}/{name}.log"
                )
        if time.monotonic() > deadline:
            raise UserError(
                f"Airflow is not ready after {READY_SECONDS} s, still waiting for {', '.join(sorted(waiting))}",
                f"read the logs in {run}; `make down`, then `make up` tries again",
            )
        try:
            health = api.health()
        except httpx.HTTPError:
            time.sleep(0.3)
            continue
        for name in sorted(waiting):
            if _is_healthy(name, health, since if name in fresh else None) and (
                name != "dag-processor" or _dags_are_parsed(api, since if name in fresh else None)
            ):
                waiting.discard(name)
                say(f"{name}: running")
        if waiting:
            time.sleep(0.3)
    _make_pool(api)


def _is_healthy(name: str, health: dict[str, Any], since: datetime | None) -> bool:
    if name == "api-server":
        return bool(health["metadatabase"]["status"] == "healthy")
    part = health[name.replace("-", "_")]
    beat = part[f"latest_{name.replace('-', '_')}_heartbeat"]
    # A heartbeat from before this start still counts as healthy for half a minute.
    return part["status"] == "healthy" and (since is None or datetime.fromisoformat(beat) >= since)


def _dags_are_parsed(api: Api, since: datetime | None) -> bool:
    for dag_id in DAGS:
        dag = api.get(f"dags/{dag_id}")
        if dag is None or dag["is_stale"]:
            return False
        if since is not None and datetime.fromisoformat(dag["last_parsed_time"]) < since:
            return False
    return True


def _make_pool(api: Api) -> None:
    """The pool that bounds the visits; one that is there stays as the operator set it."""
    if api.get(f"pools/{configuration.PULL_POOL}") is None:
        pool = {"name": configuration.PULL_POOL, "slots": configuration.PARALLELISM, "include_deferred": False}
        api.post("pools", pool | {"description": "Branches visited at once"})
