"""One night, step by step. The DAG tasks and the command line call the same functions, in the same order.

open_run, pull_branch for every branch, close_pull; then open_build, build_layer for every layer, both audits, publish.
What one step hands to the next lies in the warehouse under `run_id` and `build_id`, so that any step can be repeated.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from kkbc import clock, privacy
from kkbc.building import LAYERS, build
from kkbc.contracts import load_contract
from kkbc.errors import UserError
from kkbc.publishing import publish_marts
from kkbc.pulling import pull
from kkbc.quality import audit
from kkbc.registry import load_registry
from kkbc.settings import get_settings
from kkbc.slices import BRANCH_FEEDS, HEAD_OFFICE_FEEDS
from kkbc.validation import check_contract
from kkbc.warehouse import connect
from kkbc.warehouse.connection import Role

__all__ = [
    "LAYERS",
    "Run",
    "audit_marts",
    "audit_slices",
    "build_layer",
    "close_pull",
    "fail_build",
    "open_build",
    "open_run",
    "publish",
    "pull_branch",
]

Mode = Literal["airflow", "plain"]


@dataclass(frozen=True)
class Run:
    """A night under way. `branch_ids` are those to visit, head office first."""

    run_id: str
    as_of: date
    branch_ids: list[str]
    notes: list[str]


def open_run(
    as_of: date | None,
    *,
    mode: Mode,
    run_id: str,
    source_root: str | None = None,
    first_business_date: date | None = None,
) -> Run:
    """Opens the night up to business date `as_of` (None: the latest one that is due by now, KPI rule 2).

    Checks what would make every branch fail alike: contracts, registry, key. `source_root` is a folder that holds the
    file deliveries of all branches; without it each is visited by the way its registry entry names.
    Raises UserError for a broken contract or registry, a missing or wrong key, an unreachable warehouse.
    """
    root = source_root or get_settings().source_root or None
    notes = check_setup(root)
    latest = clock.latest_due(clock.now())
    day = as_of or latest
    if day > latest:
        raise UserError(f"business date {day} is not due yet", f"the latest that is due by now is {latest}")
    first = first_business_date or get_settings().first_business_date
    with connect("loader") as conn:
        _check_key(conn)
        _sync_registry(conn)
        if first is not None:
            _set(conn, "first_business_date", first.isoformat())
        conn.execute(
            "insert into ops.run (run_id, as_of, mode, source_root) values (%s, %s, %s, %s)"
            " on conflict (run_id) do update set outcome = 'running', finished_at = null",
            [run_id, day, mode, root],
        )
        # Whatever was killed says so from now on; one that is between pull and build will say otherwise by itself.
        conn.execute(
            "update ops.run r set outcome = 'failed', finished_at = now()"
            " where outcome = 'running' and mode = %s and run_id <> %s and not exists"
            " (select from ops.build b where b.run_id = r.run_id and b.outcome = 'running')",
            [mode, run_id],
        )
    return Run(run_id, day, [branch.branch_id for branch in load_registry().branches], notes)


def check_setup(source_root: str | None) -> list[str]:
    """What can be checked without a warehouse: contracts, registry, source root.

    Returns a line for each folder under `source_root` that no registry entry claims. Raises UserError.
    """
    offices = frozenset(branch.branch_id for branch in load_registry().offices)
    for feed in (*BRANCH_FEEDS, *HEAD_OFFICE_FEEDS):
        check_contract(load_contract(feed), offices)
    return _strangers(source_root)


def pull_branch(run_id: str, branch_id: str) -> dict[str, Any]:
    """Pulls, lands and loads what is outstanding of one branch; see kkbc.pulling.pull. Returns its report."""
    branch = load_registry().get(branch_id)
    with connect("loader", autocommit=True) as conn:
        row = conn.execute("select as_of, source_root from ops.run where run_id = %s", [run_id]).fetchone()
        if row is None:
            raise UserError(f"run {run_id!r} is not known to the warehouse", "open it first: the task open_run does")
        as_of, root = row
        return pull(conn, branch, run_id=run_id, until=as_of, root=Path(root) if root else None).summary()


def close_pull(run_id: str) -> dict[str, Any]:
    """Sums the visits of a run up, over the latest attempt of each branch.

    Returns as_of, branches visited and failed (with reasons), slices loaded, rejected, rows, bytes, the notes, and
    `news`: whether there is something to build, which also holds when only the calendar moved on.
    """
    with connect("loader") as conn:
        rows = conn.execute(
            "select distinct on (branch_id) branch_id, outcome, reason, rows, bytes, notes from ops.attempt"
            " where run_id = %s order by branch_id, attempt_id desc",
            [run_id],
        ).fetchall()
        slices = conn.execute(
            "select count(*) filter (where status <> 'rejected'), count(*) filter (where status = 'rejected')"
            " from ops.slice where run_id = %s",
            [run_id],
        ).fetchone()
        news = conn.execute(
            "select r.as_of, exists (select from ops.slice where build_id is null)"
            " or r.as_of > coalesce((select max(as_of) from ops.publication), '-infinity')"
            " or exists (select from ops.slice s join ops.build b using (build_id) where b.outcome <> 'published')"
            " from ops.run r where run_id = %s",
            [run_id],
        ).fetchone()
        if slices is None or news is None:
            raise UserError(f"run {run_id!r} is not known to the warehouse", "open it first: the task open_run does")
        if not news[1]:
            conn.execute("update ops.run set outcome = 'nothing_new', finished_at = now() where run_id = %s", [run_id])
    return {
        "run_id": run_id,
        "as_of": news[0].isoformat(),
        "branches": len(rows),
        "failed": {branch: reason for branch, outcome, reason, *_ in rows if outcome == "failed"},
        "slices_loaded": slices[0],
        "slices_rejected": slices[1],
        "rows": sum(row[3] for row in rows),
        "bytes": sum(row[4] for row in rows),
        "notes": [f"{row[0]}: {note}" for row in rows for note in row[5]],
        "news": news[1],
    }


def open_build(run_id: str) -> int:
    """Opens a build over the slices loaded since the last publication; returns its build_id.

    A build that was left running by a crash, or that failed its audit, hands its slices on to this one.
    """
    with connect("transformer") as conn:
        row = conn.execute("select as_of from ops.run where run_id = %s", [run_id]).fetchone()
        if row is None:
            raise UserError(f"run {run_id!r} is not known to the warehouse", "open it first: the task open_run does")
        first = _first_business_date(conn, row[0])
        conn.execute("update ops.build set outcome = 'failed', finished_at = now() where outcome = 'running'")
        made = conn.execute(
            "insert into ops.build (run_id, as_of, first_business_date) values (%s, %s, %s) returning build_id",
            [run_id, row[0], first],
        ).fetchone()
        assert made is not None
        conn.execute(
            "update ops.slice set build_id = %s where build_id is null"
            " or build_id in (select build_id from ops.build where outcome in ('failed', 'gate_failed'))",
            [made[0]],
        )
        return int(made[0])


def build_layer(build_id: int, layer: str) -> dict[str, Any]:
    """Builds one layer of the dbt project into the hidden schemas; see kkbc.building.build."""
    info = _build(build_id)
    with _step(info.run_id, f"build_{layer}", "transformer"):
        results = build(layer, as_of=info.as_of, first_business_date=info.first_business_date, build_id=build_id)
    return {"layer": layer, "nodes": len(results)}


def audit_slices(build_id: int) -> dict[str, Any]:
    """Audits what was loaded. Raises GateFailed when an expectation of severity fail is not met."""
    return _audit("loaded_slices", build_id)


def audit_marts(build_id: int) -> dict[str, Any]:
    """Audits what was built. Raises GateFailed when an expectation of severity fail is not met."""
    return _audit("built_marts", build_id)


def publish(build_id: int) -> dict[str, Any]:
    """Publishes the audited marts in one transaction and closes build and run; see kkbc.publishing."""
    info = _build(build_id)
    with _step(info.run_id, "publish", "publisher"), connect("publisher") as conn:
        publication = publish_marts(conn, build_id=build_id, as_of=info.as_of)
        conn.execute("update ops.build set outcome = 'published', finished_at = now() where build_id = %s", [build_id])
        conn.execute("update ops.run set outcome = 'published', finished_at = now() where run_id = %s", [info.run_id])
    return {"publication_id": publication.publication_id, "tables": publication.tables}


def fail_build(build_id: int, reason: str, *, gate: bool = False) -> None:
    """Notes that a build was not published, so that the next one covers its slices again. No-op on a published one."""
    outcome = "gate_failed" if gate else "failed"
    with connect("publisher") as conn:
        row = conn.execute(
            "update ops.build set outcome = %s, finished_at = now() where build_id = %s and outcome = 'running'"
            " returning run_id",
            [outcome, build_id],
        ).fetchone()
        if row is not None:
            conn.execute(
                "update ops.run set outcome = %s, finished_at = now() where run_id = %s and outcome = 'running'",
                [outcome, row[0]],
            )
            conn.execute(
                "insert into ops.step (run_id, step, finished_at, outcome, detail)"
                " values (%s, 'close_build', clock_timestamp(), 'failed', %s)",
                [row[0], Jsonb({"reason": reason})],
            )


@dataclass(frozen=True)
class _Build:
    run_id: str
    as_of: date
    first_business_date: date


def _build(build_id: int) -> _Build:
    with connect("transformer") as conn:
        row = conn.execute(
            "select run_id, as_of, first_business_date from ops.build where build_id = %s", [build_id]
        ).fetchone()
    if row is None:
        raise UserError(f"build {build_id} is not known to the warehouse", "open it first: the task open_build does")
    return _Build(*row)


def _audit(checkpoint: Literal["loaded_slices", "built_marts"], build_id: int) -> dict[str, Any]:
    info = _build(build_id)
    with _step(info.run_id, f"audit_{checkpoint}", "auditor"):
        result = audit(checkpoint, build_id)
        result.raise_if_failed(get_settings().gate)
    return result.summary()


@contextmanager
def _step(run_id: str, step: str, role: Role) -> Iterator[None]:
    """Notes begin, end and outcome of a step in ops.step, in transactions of its own."""
    with connect(role, autocommit=True) as conn:
        row = conn.execute(
            "insert into ops.step (run_id, step) values (%s, %s) returning step_id", [run_id, step]
        ).fetchone()
        assert row is not None
        step_id = row[0]
    outcome = "failed"
    try:
        yield
        outcome = "ok"
    finally:
        with connect(role, autocommit=True) as conn:
            conn.execute(
                "update ops.step set finished_at = clock_timestamp(), outcome = %s where step_id = %s",
                [outcome, step_id],
            )


def _check_key(conn: psycopg.Connection) -> None:
    """A key other than the one the tokens were made with would make every known participant a stranger."""
    found = privacy.fingerprint(privacy.load_key())
    row = conn.execute("select value from ops.setting where name = 'pii_key_fingerprint'").fetchone()
    if row is None:
        _set(conn, "pii_key_fingerprint", found)
    elif row[0] != found:
        raise UserError(
            "the key of the participant tokens is not the one that this warehouse was loaded with",
            f"restore {get_settings().keys / privacy.KEY_FILE} from your backup, or name the right Airflow connection",
        )


def _sync_registry(conn: psycopg.Connection) -> None:
    """The warehouse's copy of the registry follows the file; a branch that left it is no longer expected."""
    offices = load_registry().offices
    conn.execute("delete from ops.branch where not branch_id = any(%s)", [[b.branch_id for b in offices]])
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into ops.branch (branch_id, kind, connection, timezone, tier, active_from, active_to)"
            " values (%(branch_id)s, %(kind)s, %(connection)s, %(timezone)s, %(tier)s, %(active_from)s, %(active_to)s)"
            " on conflict (branch_id) do update set kind = excluded.kind, connection = excluded.connection,"
            " timezone = excluded.timezone, tier = excluded.tier, active_from = excluded.active_from,"
            " active_to = excluded.active_to, synced_at = now()",
            [branch.model_dump() for branch in offices],
        )


def _first_business_date(conn: psycopg.Connection, as_of: date) -> date:
    """The setting as kept in the warehouse, else the earliest slice that is there, else `as_of`."""
    row = conn.execute("select value from ops.setting where name = 'first_business_date'").fetchone()
    if row is not None:
        return datetime.fromisoformat(row[0]).date()
    row = conn.execute("select min(business_date) from ops.slice where branch_id <> 'HQ'").fetchone()
    return row[0] if row is not None and row[0] is not None else as_of


def _set(conn: psycopg.Connection, name: str, value: str) -> None:
    conn.execute(
        "insert into ops.setting (name, value) values (%s, %s)"
        " on conflict (name) do update set value = excluded.value, set_at = now()",
        [name, value],
    )


def _strangers(root: str | None) -> list[str]:
    """A line for each folder under the source root that is no branch of the registry, or no business date of one."""
    if root is None:
        return []
    folder = Path(root)
    if not folder.is_dir():
        raise UserError(f"source root {folder} is no folder", "give the folder that holds KC001, KC002, ...")
    known = {branch.branch_id for branch in load_registry().branches}
    notes = []
    for item in sorted(path for path in folder.iterdir() if path.is_dir()):
        if item.name in known:
            notes += [
                f"folder '{item.name}/{day.name}' is no business date, it is not pulled: name it YYYY-MM-DD"
                for day in sorted(item.iterdir())
                if day.is_dir() and not _is_date(day.name)
            ]
        elif re.fullmatch(r"KC\d{3}", item.name):
            notes.append(
                f"folder {item.name!r} has no registry entry, its deliveries are not pulled:"
                " add it to config/branches.yml"
            )
        else:
            notes.append(f"folder {item.name!r} is no branch, it is not pulled: branches are KC001, KC002, ... and HQ")
    return notes


def _is_date(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False
