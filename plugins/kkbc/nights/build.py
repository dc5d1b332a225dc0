"""A build from its opening to its publication: the seeds, audit_slices, the models, audit_marts, publish.

The slices are audited before the models are built, because a slice that is held is not built over. Several runs' slices
may be in one build; it goes by what the run that it was opened for asks (`BuildRequest`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from kkbc.core.errors import GateFailed, UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.masking import error_text
from kkbc.gate import audit
from kkbc.marts import lineage, state
from kkbc.marts.runner import NodeResult, build
from kkbc.nights.request import Gate, RunRequest, read_request
from kkbc.publishing import publish_marts
from kkbc.publishing.sessions import end_overlong
from kkbc.slices import analyze_changed, claim, hold
from kkbc.warehouse import connect, locks
from kkbc.warehouse.connection import Role
from kkbc.warehouse.locks import Lock

MAX_AUDITS = 5
"""How often the slices of a build are audited again because others came meanwhile."""


@dataclass(frozen=True)
class BuildRequest:
    """What a build goes by: that of the run which it was opened for, as its rows say.

    gate: asked for this build alone, else by its run, else as the setting is at this moment. full_refresh: its run asks
    for it, or an earlier one did that no build has served.
    """

    run_id: str
    as_of: date
    first_business_date: date
    gate: Gate
    full_refresh: bool


def open_build(run_id: str, *, gate: Gate | None = None) -> int:
    """Opens a build over the slices loaded since the last publication; returns its build_id.

    `gate` holds for this build alone; None: what its run asks. A build that was left running by a crash, or that failed
    its audit, hands its slices on to this one. So does one that is still under way: the newest build alone may go on,
    see `_exclusively`. Raises UserError for a run that was not opened.
    """
    with connect("transformer") as conn:
        locks.take(conn, Lock.OPENING)
        request = read_request(conn, run_id)
        first = _first_business_date(conn, request)
        conn.execute("update ops.build set outcome = 'failed', finished_at = now() where outcome = 'running'")
        made = conn.execute(
            "insert into ops.build (run_id, as_of, first_business_date, gate) values (%s, %s, %s, %s)"
            " returning build_id",
            [run_id, request.day, first, gate],
        ).fetchone()
        assert made is not None
        claim(conn, made[0])
        return int(made[0])


def build_layer(build_id: int, layer: str) -> dict[str, Any]:
    """Builds one layer of the dbt project into the hidden schemas; see kkbc.marts.runner.build.

    No model sees a slice that did not pass the gate: what came since audit_slices joins the build and is audited first.
    Raises UserError too when a newer build was opened meanwhile, and whatever audit_slices does.
    """
    request = read_build(build_id)
    with _step(request.run_id, f"build_{layer}", "transformer"), _exclusively(build_id):
        results = _build_audited(build_id, layer, request)
    # What dbt leaves of a build by Spark names no table of the warehouse.
    if results and (layer == "seeds" or get_settings().engine == "postgres"):
        # Not under the locks: a collector that answers slowly keeps no other build waiting.
        lineage.send_build(layer)
    return {"layer": layer, "nodes": len(results)}


def _build_audited(build_id: int, layer: str, request: BuildRequest) -> list[NodeResult]:
    for _ in range(MAX_AUDITS):
        try:
            return build(
                layer,
                as_of=request.as_of,
                first_business_date=request.first_business_date,
                build_id=build_id,
                full_refresh=request.full_refresh,
                ready=lambda conn: _block_loads(conn, build_id) if layer == "models" else None,
            )
        except _UnauditedSlices:
            with connect("transformer") as conn:
                claim(conn, build_id)
            audit_slices(build_id)
    raise UserError(f"slices keep coming while build {build_id} begins", "run the night again when the pulls are over")


class _UnauditedSlices(Exception):
    """Slices came since those of the build were audited."""


def _block_loads(conn: psycopg.Connection, build_id: int) -> None:
    """Notes the last load that the models will see, while loads wait. Raises _UnauditedSlices."""
    row = conn.execute("select from ops.slice where build_id is null and status = 'loaded' limit 1").fetchone()
    if row is not None:
        raise _UnauditedSlices
    conn.execute(
        "update ops.build set load_id = (select case when is_called then last_value else 0 end from ops.load_id)"
        " where build_id = %s",
        [build_id],
    )


def audit_slices(build_id: int) -> dict[str, Any]:
    """Audits what was loaded, and holds the new slices of branches whose findings ask for it: `held` names them.

    Raises GateFailed when an expectation of severity fail is not met, or too many branches would be held; the build is
    then noted as stopped by the gate.
    """
    request = read_build(build_id)
    with _stopped_by_gate(build_id), _step(request.run_id, "audit_loaded_slices", "auditor"):
        with connect("loader") as conn:
            analyze_changed(conn)
        result = audit("loaded_slices", build_id)
        result.raise_if_failed(request.gate)
        with connect("loader", autocommit=True) as conn:
            row = conn.execute(
                "select count(distinct branch_id) from ops.slice where build_id = %s", [build_id]
            ).fetchone()
            to_hold = result.to_hold(request.gate, row[0] if row is not None else 0)
            held = [
                slice_ for branch_id, why in sorted(to_hold.items()) for slice_ in hold(conn, build_id, branch_id, why)
            ]
    return {**result.summary(), "held": [str(slice_) for slice_ in held]}


def audit_marts(build_id: int) -> dict[str, Any]:
    """Audits what was built.

    Raises GateFailed when an expectation of severity fail is not met; the build is then noted as stopped by the gate.
    """
    request = read_build(build_id)
    with _stopped_by_gate(build_id), _step(request.run_id, "audit_built_marts", "auditor"):
        result = audit("built_marts", build_id)
        result.raise_if_failed(request.gate)
    return result.summary()


def publish(build_id: int) -> dict[str, Any]:
    """Publishes the audited marts in one transaction and closes build and run; see kkbc.publishing.

    A build is published once: for one that was, this only says what it changed then.
    Raises UserError when a newer build was opened meanwhile, for the hidden schemas may hold that one's marts.
    """
    request = read_build(build_id)
    end_overlong()
    with _step(request.run_id, "publish", "publisher"), connect("publisher") as conn:
        locks.take(conn, Lock.PUBLISH)
        row = conn.execute(
            "select publication_id, tables from ops.publication where build_id = %s and restores is null", [build_id]
        ).fetchone()
        if row is not None:
            return {"publication_id": row[0], "tables": row[1]}
        _check_newest(conn, build_id)
        publication = publish_marts(conn, build_id=build_id, as_of=request.as_of)
        conn.execute("update ops.build set outcome = 'published', finished_at = now() where build_id = %s", [build_id])
        conn.execute(
            "update ops.run set outcome = 'published', finished_at = now() where run_id = %s", [request.run_id]
        )
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


def close_build(build_id: int, states: Mapping[str, str | None]) -> None:
    """Notes a build as failed when a task of it did; `states` are those of Airflow, by task."""
    failed = sorted(name for name, state in states.items() if state == "failed")
    if failed:
        fail_build(build_id, f"failed in Airflow: {', '.join(failed)}")


def one_build(wait: Callable[[], None]) -> AbstractContextManager[None]:
    """Keeps other nights that are built without Airflow from opening a build; `wait` is called where one is under way.

    Airflow sees to that by itself. A build of the one next to a build of the other is not kept waiting, but overtaken.
    Raises Busy for another night that does not end.
    """
    return locks.locked(Lock.NIGHT, "night", role="transformer", wait=wait)


def read_build(build_id: int) -> BuildRequest:
    """What a build goes by. Raises UserError for one that was not opened."""
    with connect("transformer") as conn:
        row = conn.execute(
            "select b.run_id, b.as_of, b.first_business_date, coalesce(b.gate, r.gate), coalesce(r.full_refresh, false)"
            " from ops.build b left join ops.run r using (run_id) where build_id = %s",
            [build_id],
        ).fetchone()
        if row is None:
            raise UserError(
                f"build {build_id} is not known to the warehouse", "open it first: the task open_build does"
            )
        run_id, as_of, first, gate, full_refresh = row
        full_refresh = full_refresh or state.refresh_due(conn)
    return BuildRequest(run_id, as_of, first, gate or get_settings().gate, full_refresh)


@contextmanager
def _stopped_by_gate(build_id: int) -> Iterator[None]:
    """Notes of a build that the gate stopped it, before anything else is said of it."""
    try:
        yield
    except GateFailed as error:
        fail_build(build_id, error_text(error), gate=True)
        raise


@contextmanager
def _exclusively(build_id: int) -> Iterator[None]:
    """Keeps other builds from being built or published meanwhile. Raises UserError when a newer one was opened."""
    with locks.locked(Lock.PUBLISH, f"build {build_id}", role="transformer"):
        with connect("transformer") as conn:
            _check_newest(conn, build_id)
        yield


def _check_newest(conn: psycopg.Connection, build_id: int) -> None:
    """The newest build has taken over the slices of all others that were not published, and the hidden schemas."""
    row = conn.execute("select max(build_id) from ops.build").fetchone()
    if row is not None and row[0] != build_id:
        raise UserError(f"build {row[0]} was opened after build {build_id}", "that one publishes what this one would")


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


def _first_business_date(conn: psycopg.Connection, request: RunRequest) -> date:
    """What the run asks, else as kept in the warehouse, else the earliest slice that is there, else the run's day."""
    if request.first_business_date is not None:
        return request.first_business_date
    row = conn.execute("select value from ops.setting where name = 'first_business_date'").fetchone()
    if row is not None:
        return datetime.fromisoformat(row[0]).date()
    row = conn.execute("select min(business_date) from ops.slice where branch_id <> 'HQ'").fetchone()
    return row[0] if row is not None and row[0] is not None else request.day
