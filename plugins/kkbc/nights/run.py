"""A run from its request to the end of its pulls. What is to be built after that: kkbc.nights.build."""

from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import psycopg

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.offices import office_of
from kkbc.exchange.registry import load_registry
from kkbc.marts import state
from kkbc.nights.request import Mode, RunRequest, read_request, write_request
from kkbc.nights.setup import check_setup, source_root
from kkbc.warehouse import connect
from kkbc.warehouse.feeds import check_made
from kkbc.warehouse.kept import check_key, check_landing_keys, keep


@dataclass(frozen=True)
class Run:
    """A run under way. `branch_ids` are those to visit, head office first."""

    run_id: str
    as_of: date
    branch_ids: list[str]
    notes: list[str]


def open_run(request: RunRequest, *, mode: Mode, run_id: str) -> Run:
    """Opens the run that `request` asks for, and writes both to ops.run under `run_id`.

    Checks what would make every branch fail alike: contracts, registry, ways, key. Raises UserError for a broken
    contract or registry, a branch or way that is none, a day that is not due, a missing or wrong key (of the tokens or
    of landing), an unreachable warehouse.
    """
    notes = check_setup(request)
    latest = clock.latest_due(clock.now())
    day = request.as_of or latest
    if day > latest:
        raise UserError(f"business date {day} is not due yet", f"the latest that is due by now is {latest}")
    settled = replace(
        request,
        as_of=day,
        source_root=source_root(request),
        ways=request.all_ways,
        first_business_date=request.first_business_date or get_settings().first_business_date,
    )
    with connect("loader") as conn:
        check_key(conn)
        check_landing_keys(conn)
        check_made(conn)
        _sync_registry(conn)
        if settled.first_business_date is not None:
            keep(conn, "first_business_date", settled.first_business_date.isoformat())
        write_request(conn, run_id, settled, mode=mode, notes=notes)
        _close_killed_runs(conn, run_id, mode)
        _reset_statements(conn, run_id)
    names = [branch.branch_id for branch in load_registry().branches]
    return Run(run_id, day, [name for name in names if name in (request.branch_ids or names)], notes)


def close_pull(run_id: str) -> dict[str, Any]:
    """Sums the visits of a run up, over the latest attempt of each branch.

    Returns as_of, branches visited and failed (with reasons), slices loaded, rejected, rows, bytes, the notes of the
    run and of its visits, `alert`: one message for the operator over all that went wrong, None when nothing did, and
    `news`: whether there is something to build, which also holds when only the calendar moved on, when code, registry
    or first day changed, or a full refresh was asked for. Raises UserError for a run that was not opened.
    """
    with connect("loader") as conn:
        request = read_request(conn, run_id)
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
        counted = conn.execute(
            "select count(*) filter (where status <> 'rejected'), count(*) filter (where status = 'rejected'),"
            " (select notes from ops.run where run_id = %(run_id)s) from ops.slice where run_id = %(run_id)s",
            {"run_id": run_id},
        ).fetchone()
        assert counted is not None
        news = request.full_refresh or _is_due(conn, run_id) or state.outdated(conn)
        if not news:
            conn.execute("update ops.run set outcome = 'nothing_new', finished_at = now() where run_id = %s", [run_id])
        # A task that was killed has no outcome of its own; the attempt is noted as running until the next visit.
        failed = {row[0]: row[2] or "killed" for row in rows if row[1] in ("failed", "killed", "running")}
        alert = _alert(len(rows), failed, {row[0]: row[6] for row in rows}, dict(rejected))
        conn.execute("update ops.run set alert = %s where run_id = %s", [alert, run_id])
    return {
        "run_id": run_id,
        "as_of": request.day.isoformat(),
        "branches": len(rows),
        "failed": failed,
        "slices_loaded": counted[0],
        "slices_rejected": counted[1],
        "rows": sum(row[3] for row in rows),
        "bytes": sum(row[4] for row in rows),
        "notes": [*counted[2], *(f"{row[0]}: {note}" for row in rows for note in row[5])],
        "alert": alert,
        "news": news,
    }


def _is_due(conn: psycopg.Connection, run_id: str) -> bool:
    """Whether slices wait for a build, the run's day is later than what is published, or the last build failed."""
    row = conn.execute(
        "select exists (select from ops.slice where build_id is null)"
        " or r.as_of > coalesce((select max(as_of) from ops.publication), '-infinity')"
        " or exists (select from ops.slice s join ops.build b using (build_id) where b.outcome <> 'published')"
        " or exists (select from ops.build where outcome in ('failed', 'gate_failed')"
        " and build_id = (select max(build_id) from ops.build))"
        " from ops.run r where run_id = %s",
        [run_id],
    ).fetchone()
    return row is not None and bool(row[0])


def _alert(visited: int, failed: dict[str, str], kinds: dict[str, str], rejected: dict[str, list[str]]) -> str | None:
    """All that went wrong as one message: a line for the sum, then one for each branch."""
    if not failed and not rejected:
        return None
    lines = [f"{len(failed)} of {visited} branches could not be pulled, {len(rejected)} had slices rejected"]
    lines += [f"{branch_id} ({kinds[branch_id]}) not pulled: {reason}" for branch_id, reason in failed.items()]
    lines += [f"{branch_id} rejected: {', '.join(slices)}" for branch_id, slices in rejected.items()]
    return "\n".join(lines)


def _close_killed_runs(conn: psycopg.Connection, run_id: str, mode: Mode) -> None:
    """Notes other runs as failed that were killed; one that is between pull and build will say otherwise by itself."""
    conn.execute(
        "update ops.run r set outcome = 'failed', finished_at = now()"
        " where outcome = 'running' and mode = %s and run_id <> %s and not exists"
        " (select from ops.build b where b.run_id = r.run_id and b.outcome = 'running')",
        [mode, run_id],
    )


def _reset_statements(conn: psycopg.Connection, run_id: str) -> None:
    """The statistics of statements begin again with the first run of a later business date than any before."""
    conn.execute(
        "select ops.reset_statements() from ops.run r where run_id = %s"
        " and not exists (select from ops.run o where o.as_of >= r.as_of and o.run_id <> r.run_id)",
        [run_id],
    )


def _sync_registry(conn: psycopg.Connection) -> None:
    """The warehouse's copy of the registry follows the file; what left it is no longer expected."""
    offices = load_registry().offices
    conn.execute("delete from ops.branch where not branch_id = any(%s)", [[b.branch_id for b in offices]])
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into ops.branch (branch_id, kind, connection, timezone, tier, active_from, active_to,"
            " branch_name, kanwil_id, province_code, regency_code, lat, lng)"
            " values (%(branch_id)s, %(kind)s, %(connection)s, %(timezone)s, %(tier)s, %(active_from)s, %(active_to)s,"
            " %(branch_name)s, %(kanwil_id)s, %(province_code)s, %(regency_code)s, %(lat)s, %(lng)s)"
            " on conflict (branch_id) do update set kind = excluded.kind, connection = excluded.connection,"
            " timezone = excluded.timezone, tier = excluded.tier, active_from = excluded.active_from,"
            " active_to = excluded.active_to, branch_name = excluded.branch_name, kanwil_id = excluded.kanwil_id,"
            " province_code = excluded.province_code, regency_code = excluded.regency_code, lat = excluded.lat,"
            " lng = excluded.lng, synced_at = now()",
            [branch.model_dump() | asdict(office_of(branch)) for branch in offices],
        )
