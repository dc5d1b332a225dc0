"""One night, step by step. The DAG tasks and the command line call the same functions, in the same order.

open_run, pull_branch for every branch, close_pull; then open_build, the seeds, audit_slices, the models, audit_marts,
publish. The slices are audited before the models are built, because a slice that is held is not built over.
What one step hands to the next lies in the warehouse under `run_id` and `build_id`, so that any step can be repeated.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.exchange.masking import shown_name, without_texts
from kkbc.exchange.registry import Branch, load_registry
from kkbc.gate import audit, hold
from kkbc.intake.validation import check_contract
from kkbc.marts import lineage, state
from kkbc.marts.runner import LAYERS, NodeResult, build
from kkbc.nights.visit import pull
from kkbc.publishing import publish_marts
from kkbc.publishing.sessions import end_overlong
from kkbc.warehouse import connect, locks
from kkbc.warehouse.connection import Role, told
from kkbc.warehouse.feeds import check_made
from kkbc.warehouse.kept import check_key, keep
from kkbc.warehouse.locks import Lock

__all__ = [
    "LAYERS",
    "Run",
    "Wishes",
    "audit_marts",
    "audit_slices",
    "build_layer",
    "close_pull",
    "fail_build",
    "one_build",
    "open_build",
    "open_run",
    "publish",
    "pull_branch",
]

Mode = Literal["airflow", "plain"]
GATINGS = 5
MOST_FOLDERS_TOLD = 20
"""Folders of one branch that are no days, of which a line is told."""


@dataclass(frozen=True)
class Wishes:
    """What is asked of a night.

    as_of: business date up to which it goes, None for the latest that is due (KPI rule 2). source_root: folder with the
    deliveries of all branches as files, None to visit each by its own way. ways: {branch_id: kind[:connection]} that
    hold for this night only, "*" for all others. first_business_date, gate: None for what is kept or set. full_refresh:
    the build makes all marts anew, instead of what the new slices touch, even when there are none.
    """

    as_of: date | None = None
    source_root: Path | None = None
    ways: Mapping[str, str] = field(default_factory=dict)
    first_business_date: date | None = None
    gate: Literal["fail", "warn"] | None = None
    full_refresh: bool = False

    def as_params(self) -> dict[str, Any]:
        """The wishes as JSON values: the parameters of the DAG pull_branches."""
        return {
            "as_of": self.as_of and self.as_of.isoformat(),
            "source_root": self.source_root and str(self.source_root),
            "ways": dict(self.ways),
            "first_business_date": self.first_business_date and self.first_business_date.isoformat(),
            "gate": self.gate,
            "full_refresh": self.full_refresh,
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Wishes":
        """The wishes that as_params wrote; what is absent is not wished."""
        return cls(
            as_of=_date(params.get("as_of")),
            source_root=Path(params["source_root"]) if params.get("source_root") else None,
            ways=params.get("ways") or {},
            first_business_date=_date(params.get("first_business_date")),
            gate=params.get("gate"),
            full_refresh=bool(params.get("full_refresh")),
        )

    @property
    def all_ways(self) -> dict[str, str]:
        """The ways, with kind file for every branch where a folder holds the deliveries of all."""
        return {**({"*": "file"} if self.source_root else {}), **self.ways}


@dataclass(frozen=True)
class Run:
    """A night under way. `branch_ids` are those to visit, head office first."""

    run_id: str
    as_of: date
    branch_ids: list[str]
    notes: list[str]


def open_run(wishes: Wishes, *, mode: Mode, run_id: str) -> Run:
    """Opens the night that `wishes` ask for, and notes it under `run_id`.

    Checks what would make every branch fail alike: contracts, registry, ways, key. Raises UserError for a broken
    contract or registry, a way that is none, a day that is not due, a missing or wrong key, an unreachable warehouse.
    """
    notes = check_setup(wishes)
    root = _root(wishes)
    latest = clock.latest_due(clock.now())
    day = wishes.as_of or latest
    if day > latest:
        raise UserError(f"business date {day} is not due yet", f"the latest that is due by now is {latest}")
    first = wishes.first_business_date or get_settings().first_business_date
    with connect("loader") as conn:
        check_key(conn)
        check_made(conn)
        _sync_registry(conn)
        if first is not None:
            keep(conn, "first_business_date", first.isoformat())
        if wishes.full_refresh:
            state.begin(conn)
        conn.execute(
            "insert into ops.run (run_id, as_of, mode, source_root, ways) values (%s, %s, %s, %s, %s)"
            " on conflict (run_id) do update set outcome = 'running', finished_at = null",
            [run_id, day, mode, root, Jsonb(wishes.all_ways)],
        )
        # Whatever was killed says so from now on; one that is between pull and build will say otherwise by itself.
        conn.execute(
            "update ops.run r set outcome = 'failed', finished_at = now()"
            " where outcome = 'running' and mode = %s and run_id <> %s and not exists"
            " (select from ops.build b where b.run_id = r.run_id and b.outcome = 'running')",
            [mode, run_id],
        )
    return Run(run_id, day, [branch.branch_id for branch in load_registry().branches], notes)


def check_setup(wishes: Wishes) -> list[str]:
    """What can be checked without a warehouse: contracts, registry, ways, source root.

    Returns a line for each folder under the source root that no registry entry claims. Raises UserError.
    """
    registry = load_registry()
    offices = frozenset(branch.branch_id for branch in registry.offices)
    for feed in feeds():
        check_contract(load_contract(feed), offices)
    for branch_id in wishes.ways:
        if branch_id != "*":
            registry.get(branch_id)
    visited = [_by_its_way(branch, wishes.all_ways) for branch in registry.branches]
    root = _root(wishes)
    if root is None and all(branch.kind == "file" and branch.connection is None for branch in visited):
        raise UserError("no source root is set", "give --source-root, or set KKBC_SOURCE_ROOT")
    return _strangers(root)


def _by_its_way(branch: Branch, ways: Mapping[str, str]) -> Branch:
    way = ways.get(branch.branch_id) or ways.get("*")
    return branch.by(way) if way else branch


def _root(wishes: Wishes) -> str | None:
    return str(wishes.source_root) if wishes.source_root else get_settings().source_root or None


def pull_branch(run_id: str, branch_id: str) -> dict[str, Any]:
    """Pulls, lands and loads what is outstanding of one branch; see kkbc.nights.visit.pull. Returns its report."""
    branch = load_registry().get(branch_id)
    with connect("loader", autocommit=True) as conn:
        row = conn.execute("select as_of, source_root, ways from ops.run where run_id = %s", [run_id]).fetchone()
        if row is None:
            raise UserError(f"run {run_id!r} is not known to the warehouse", "open it first: the task open_run does")
        as_of, root, ways = row
        branch = _by_its_way(branch, ways)
        try:
            with without_texts():
                return pull(conn, branch, run_id=run_id, until=as_of, root=Path(root) if root else None).summary()
        except psycopg.errors.DiskFull as error:
            raise told(error) from error


def close_pull(run_id: str) -> dict[str, Any]:
    """Sums the visits of a run up, over the latest attempt of each branch.

    Returns as_of, branches visited and failed (with reasons), slices loaded, rejected, rows, bytes, the notes,
    `alert`: one message for the operator over all that went wrong, None when nothing did, and `news`: whether there is
    something to build, which also holds when only the calendar moved on, or code, registry or first day changed.
    """
    with connect("loader") as conn:
        rows = conn.execute(
            "select distinct on (branch_id) branch_id, outcome, reason, rows, bytes, notes, kind from ops.attempt"
            " where run_id = %s order by branch_id, attempt_id desc",
            [run_id],
        ).fetchall()
        rejected = conn.execute(
            "select branch_id, array_agg(feed || ' ' || business_date || ' ' || reason order by business_date, feed)"
            " from ops.slice where run_id = %s and status = 'rejected' group by 1 order by 1",
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
            " or exists (select from ops.build where outcome in ('failed', 'gate_failed')"
            " and build_id = (select max(build_id) from ops.build))"
            " from ops.run r where run_id = %s",
            [run_id],
        ).fetchone()
        if slices is None or news is None:
            raise UserError(f"run {run_id!r} is not known to the warehouse", "open it first: the task open_run does")
        something_new = news[1] or state.outdated(conn)
        if not something_new:
            conn.execute("update ops.run set outcome = 'nothing_new', finished_at = now() where run_id = %s", [run_id])
        # A task that was killed has no outcome of its own; the attempt is noted as running until the next visit.
        failed = {row[0]: row[2] or "killed" for row in rows if row[1] in ("failed", "killed", "running")}
        alert = _alert(len(rows), failed, {row[0]: row[6] for row in rows}, dict(rejected))
        conn.execute("update ops.run set alert = %s where run_id = %s", [alert, run_id])
    return {
        "run_id": run_id,
        "as_of": news[0].isoformat(),
        "branches": len(rows),
        "failed": failed,
        "slices_loaded": slices[0],
        "slices_rejected": slices[1],
        "rows": sum(row[3] for row in rows),
        "bytes": sum(row[4] for row in rows),
        "notes": [f"{row[0]}: {note}" for row in rows for note in row[5]],
        "alert": alert,
        "news": something_new,
    }


def _alert(visited: int, failed: dict[str, str], kinds: dict[str, str], rejected: dict[str, list[str]]) -> str | None:
    """All that went wrong as one message: a line for the sum, then one for each branch."""
    if not failed and not rejected:
        return None
    lines = [f"{len(failed)} of {visited} branches could not be pulled, {len(rejected)} had slices rejected"]
    lines += [f"{branch_id} ({kinds[branch_id]}) not pulled: {reason}" for branch_id, reason in failed.items()]
    lines += [f"{branch_id} rejected: {', '.join(slices)}" for branch_id, slices in rejected.items()]
    return "\n".join(lines)


def open_build(run_id: str) -> int:
    """Opens a build over the slices loaded since the last publication; returns its build_id.

    A build that was left running by a crash, or that failed its audit, hands its slices on to this one. So does one
    that is still under way: the newest build alone may go on, see `_alone`.
    """
    with connect("transformer") as conn:
        locks.take(conn, Lock.OPENING)
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
        _claim(conn, made[0])
        return int(made[0])


def _claim(conn: psycopg.Connection, build_id: int) -> None:
    """Makes the slices that no publication covers those of this build."""
    conn.execute(
        "update ops.slice set build_id = %s where build_id is null"
        " or build_id in (select build_id from ops.build where outcome in ('failed', 'gate_failed'))",
        [build_id],
    )


def build_layer(build_id: int, layer: str) -> dict[str, Any]:
    """Builds one layer of the dbt project into the hidden schemas; see kkbc.marts.runner.build.

    No model sees a slice that did not pass the gate: what came since audit_slices joins the build and is audited first.
    Raises UserError too when a newer build was opened meanwhile, and whatever audit_slices does.
    """
    info = _build(build_id)
    with _step(info.run_id, f"build_{layer}", "transformer"), _alone(build_id):
        results = _build_gated(build_id, layer, info)
    if results:
        # Not under the locks: a collector that answers slowly keeps no other build waiting.
        lineage.tell_build(layer)
    return {"layer": layer, "nodes": len(results)}


def _build_gated(build_id: int, layer: str, info: "_Build") -> list[NodeResult]:
    for _ in range(GATINGS):
        try:
            return build(
                layer,
                as_of=info.as_of,
                first_business_date=info.first_business_date,
                build_id=build_id,
                ready=lambda conn: _close_doors(conn, build_id) if layer == "models" else None,
            )
        except _Newcomers:
            with connect("transformer") as conn:
                _claim(conn, build_id)
            audit_slices(build_id)
    raise UserError(f"slices keep coming while build {build_id} begins", "run the night again when the pulls are over")


class _Newcomers(Exception):
    """Slices came since those of the build were audited."""


def _close_doors(conn: psycopg.Connection, build_id: int) -> None:
    """Notes the last load that the models will see, while loads wait. Raises _Newcomers."""
    row = conn.execute("select from ops.slice where build_id is null and status = 'loaded' limit 1").fetchone()
    if row is not None:
        raise _Newcomers
    conn.execute(
        "update ops.build set load_id = (select case when is_called then last_value else 0 end from ops.load_id)"
        " where build_id = %s",
        [build_id],
    )


def audit_slices(build_id: int) -> dict[str, Any]:
    """Audits what was loaded, and holds the new slices of branches whose findings ask for it: `held` names them.

    Raises GateFailed when an expectation of severity fail is not met, or too many branches would be held.
    """
    info = _build(build_id)
    gate = get_settings().gate
    with _step(info.run_id, "audit_loaded_slices", "auditor"):
        result = audit("loaded_slices", build_id)
        result.raise_if_failed(gate)
        with connect("loader", autocommit=True) as conn:
            row = conn.execute(
                "select count(distinct branch_id) from ops.slice where build_id = %s", [build_id]
            ).fetchone()
            to_hold = result.to_hold(gate, row[0] if row is not None else 0)
            held = [
                slice_ for branch_id, why in sorted(to_hold.items()) for slice_ in hold(conn, build_id, branch_id, why)
            ]
    return {**result.summary(), "held": [str(slice_) for slice_ in held]}


def audit_marts(build_id: int) -> dict[str, Any]:
    """Audits what was built. Raises GateFailed when an expectation of severity fail is not met."""
    info = _build(build_id)
    with _step(info.run_id, "audit_built_marts", "auditor"):
        result = audit("built_marts", build_id)
        result.raise_if_failed(get_settings().gate)
    return result.summary()


def publish(build_id: int) -> dict[str, Any]:
    """Publishes the audited marts in one transaction and closes build and run; see kkbc.publishing.

    A build is published once: for one that was, this only says what it changed then.
    Raises UserError when a newer build was opened meanwhile, for the hidden schemas may hold that one's marts.
    """
    info = _build(build_id)
    end_overlong()
    with _step(info.run_id, "publish", "publisher"), connect("publisher") as conn:
        locks.take(conn, Lock.PUBLISH)
        row = conn.execute(
            "select publication_id, tables from ops.publication where build_id = %s and restores is null", [build_id]
        ).fetchone()
        if row is not None:
            return {"publication_id": row[0], "tables": row[1]}
        _check_newest(conn, build_id)
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


def one_build(wait: Callable[[], None]) -> AbstractContextManager[None]:
    """Keeps other nights that are built without Airflow from opening a build; `wait` is called where one is under way.

    Airflow sees to that by itself. A build of the one beside a build of the other is not kept waiting, but overtaken.
    Raises Busy for another night that does not end.
    """
    return locks.held(Lock.NIGHT, "night", role="transformer", wait=wait)


@contextmanager
def _alone(build_id: int) -> Iterator[None]:
    """Keeps other builds from being built or published meanwhile. Raises UserError when a newer one was opened."""
    with locks.held(Lock.PUBLISH, f"build {build_id}", role="transformer"):
        with connect("transformer") as conn:
            _check_newest(conn, build_id)
        yield


def _check_newest(conn: psycopg.Connection, build_id: int) -> None:
    """The newest build has taken over the slices of all others that were not published, and the hidden schemas."""
    row = conn.execute("select max(build_id) from ops.build").fetchone()
    if row is not None and row[0] != build_id:
        raise UserError(f"build {row[0]} was opened after build {build_id}", "that one publishes what this one would")


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


def _sync_registry(conn: psycopg.Connection) -> None:
    """The warehouse's copy of the registry follows the file; what left it is no longer expected."""
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
                f"folder '{item.name}/{name}' is no business date, it is not pulled: name it YYYY-MM-DD"
                for name in sorted(islice(_no_days(item), MOST_FOLDERS_TOLD))
            ]
        elif re.fullmatch(r"KC\d{3}", item.name):
            notes.append(
                f"folder {item.name!r} has no registry entry, its deliveries are not pulled:"
                " add it to config/branches.yml"
            )
        else:
            shown = shown_name(item.name)
            notes.append(f"folder '{shown}' is no branch, it is not pulled: branches are KC001, KC002, ... and HQ")
    return notes


def _no_days(folder: Path) -> Iterator[str]:
    """The names of folders in that of a branch that are no business dates, as they may be told of.

    None of them where the branch's folder cannot be read: the visit says what is the matter with it.
    """
    with suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if clock.day_of(item.name) is None and item.is_dir():
                yield shown_name(item.name)


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
