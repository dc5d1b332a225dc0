"""What is checked, each with its result, and the checks of the stack that need no night."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.exchange.contracts import load_contract
from kkbc.upkeep.dashboards.api import session
from kkbc_play.containers.docker import Say
from kkbc_play.containers.stack import BIND, ONCE, WORKER, Stack
from kkbc_play.simulator.truth.comparing import GRAIN, differences, read_truth

DIFFERENCES_SHOWN = 10
MIB = 1 << 20


class Failed(Exception):
    """A check found what must not be."""


@dataclass
class Check:
    """One check: its name, whether it passed, what it saw, and how long it took."""

    name: str
    passed: bool = False
    detail: str = ""
    seconds: float = 0.0


class Report:
    """The checks so far. Each is shown when it ends."""

    def __init__(self, say: Say) -> None:
        self.checks: list[Check] = []
        self._say = say

    @contextmanager
    def check(self, name: str) -> Iterator[Check]:
        """A check for the length of a block. It fails, and the trial goes on, when the block raises a known error."""
        self._say(f"...  {name}")
        check, began = Check(name), time.monotonic()
        try:
            yield check
            check.passed = True
        except (Failed, UserError, httpx.HTTPError, psycopg.Error, OSError) as error:
            check.detail = "; ".join(filter(None, [check.detail, str(error) or type(error).__name__]))
        finally:
            check.seconds = round(time.monotonic() - began, 1)
            self.checks.append(check)
            self._say(f"{'ok  ' if check.passed else 'FAIL'} {name} ({check.seconds:.0f} s): {check.detail}")

    @property
    def passed(self) -> bool:
        """Whether there were checks and all passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def as_json(self) -> list[dict[str, Any]]:
        """The checks as JSON values."""
        return [asdict(check) for check in self.checks]


def figures_equal_truth(stack: Stack, path: Path) -> str:
    """How many rows were compared. Raises Failed when a published figure differs from the truth in `path`."""
    truth = read_truth(path)
    with stack.connect() as conn:
        lines = [line for mart in GRAIN for line in differences(conn, mart, truth[mart])]
    if lines:
        raise Failed(f"{len(lines)} differences from the truth: " + "; ".join(lines[:DIFFERENCES_SHOWN]))
    rows = sum(len(truth[mart]) for mart in GRAIN)
    return f"{rows} rows of {len(GRAIN)} marts equal the truth"


def loaded_once(stack: Stack) -> str:
    """Raises Failed when a raw table does not hold exactly the accepted rows of the slices in force."""
    with stack.connect() as conn:
        accepted = "select feed, sum(rows_accepted)::bigint from ops.slice where status = 'loaded' group by 1"
        wanted: dict[str, int] = dict(conn.execute(accepted).fetchall())
        for feed, rows in wanted.items():
            table = load_contract(feed).table
            query = sql.SQL("select count(*) from {}").format(sql.Identifier("raw", table))
            found = conn.execute(query).fetchone()
            if found is None or found[0] != rows:
                raise Failed(f"raw.{table} holds {found}, accepted were {rows} rows")
    return f"{sum(wanted.values())} rows loaded once"


def published_once(stack: Stack) -> str:
    """Raises Failed when a build was published twice, or one is open while no night is under way."""
    with stack.connect() as conn:
        twice = "select build_id from ops.publication group by 1 having count(*) > 1"
        found = conn.execute(f"select (select count(*) from ops.publication), array({twice})").fetchone()  # noqa: S608
    assert found is not None
    if found[1]:
        raise Failed(f"published more than once: builds {found[1]}")
    return f"{found[0]} publications of as many builds"


def bounds_hold(stack: Stack) -> str:
    """Raises Failed when a container lacks a limit, log rotation, a stop grace period or a health check."""
    containers = stack.containers()
    for container in containers:
        seen = stack.inspect(container)
        host, config = seen["HostConfig"], seen["Config"]
        lacks = [
            name
            for name, there in (
                ("a memory limit", host["Memory"]),
                ("a limit of processes", host["PidsLimit"]),
                ("log rotation", host["LogConfig"]["Config"].get("max-size")),
                ("a stop grace period", config.get("StopTimeout")),
                ("a health check", container.service == ONCE or config.get("Healthcheck")),
                ("no new privileges", "no-new-privileges:true" in host["SecurityOpt"]),
            )
            if not there
        ]
        if lacks:
            raise Failed(f"{container.name} lacks {', '.join(lacks)}")
    return f"{len(containers)} containers are limited"


def peaks(stack: Stack) -> dict[str, str]:
    """The most memory that each service has used so far, of its limit, with the page cache that counts as its own."""
    found: dict[str, tuple[int, int]] = {}
    for container in stack.containers():
        if container.state != "running":
            continue
        seen = stack.inspect(container)
        peak = _peak(seen["Id"])
        if peak is not None:
            best = max(found.get(container.service, (0, 0)), (peak, seen["HostConfig"]["Memory"]))
            found[container.service] = best
    return {name: f"{peak // MIB} of {limit // MIB} MiB" for name, (peak, limit) in sorted(found.items())}


def _peak(container_id: str) -> int | None:
    """Of either version of control groups, None where the engine puts them elsewhere."""
    places = (
        f"/sys/fs/cgroup/memory/docker/{container_id}/memory.max_usage_in_bytes",
        f"/sys/fs/cgroup/system.slice/docker-{container_id}.scope/memory.peak",
        f"/sys/fs/cgroup/docker/{container_id}/memory.peak",
    )
    return next((int(path.read_text()) for path in map(Path, places) if path.exists()), None)


def nothing_was_killed(stack: Stack, *services: str) -> str:
    """Stops these services, or all. Raises Failed when one did not end by itself within its grace period."""
    stack.compose("stop", *services, seconds=1200, log=stack.folder / "up.log")
    stopped = [c for c in stack.containers() if not services or c.service in services]
    killed = [f"{c.name} ({c.exit_code})" for c in stopped if c.exit_code == 137]
    if killed:
        raise Failed(f"killed after their grace period: {', '.join(killed)}")
    codes = sorted({c.exit_code for c in stopped})
    return f"all stopped within their grace period, exit codes {', '.join(map(str, codes))}"


def docs_are_served(stack: Stack) -> str:
    """Writes the docs site in a worker and asks the service for it."""
    stack.compose("exec", "-T", WORKER, "kkbc", "docs", seconds=300)
    answer = httpx.get(f"http://{BIND}:8081/", timeout=30, trust_env=False)
    answer.raise_for_status()
    if "<html" not in answer.text.lower():
        raise Failed("what the service docs serves is no page")
    return f"{len(answer.content)} bytes of its first page"


def superset_shows_figures(stack: Stack) -> str:
    """Asks Superset for the project's dashboards, by its first login."""
    with session(f"http://{BIND}:8088", stack.secrets["KKBC_BI_ADMIN_PASSWORD"]) as api:
        boards = [str(board["dashboard_title"]) for board in api.all("dashboard/")]
    if len(boards) < 3:
        raise Failed(f"Superset has {len(boards)} dashboards")
    return f"dashboards {', '.join(sorted(boards))}"


def backup_is_whole(stack: Stack) -> str:
    """Reads every byte of the newest backup in the volume `backups`."""
    return stack.compose("exec", "-T", WORKER, "kkbc", "backup", "verify", "/var/backups/kkbc").strip().splitlines()[-1]


def metadata_are_restored(stack: Stack) -> str:
    """Dumps Airflow's and Superset's databases by the service, and restores each into an empty one: as many rows."""
    service, seen = "metadata-backup", []
    stack.compose("exec", "-T", service, "python", "docker/backup_metadata.py", "now")
    for name, table in (("airflow", "task_instance"), ("superset", "dashboards")):
        copy = f"trial_{name}"
        stack.compose("exec", "-T", "postgres", "createdb", "-U", "postgres", "-O", name, copy)
        stack.compose("exec", "-T", service, "python", "docker/backup_metadata.py", "restore", name, copy)
        counts = [
            stack.compose(
                *("exec", "-T", "postgres", "psql", "-U", "postgres", "-d", database, "-Atc"),
                f"select (select count(*) from {table}),"  # noqa: S608
                " (select count(*) from pg_tables where schemaname = 'public')",
            ).strip()
            for database in (name, copy)
        ]
        stack.compose("exec", "-T", "postgres", "dropdb", "-U", "postgres", copy)
        if counts[0] != counts[1] or counts[0].startswith("0|"):
            raise Failed(f"{name} holds {counts[0]} rows of {table} and tables, its restored dump {counts[1]}")
        rows, tables = counts[0].split("|")
        seen.append(f"{name} with {rows} rows of {table} and {tables} tables")
    return "restored: " + ", ".join(seen)
