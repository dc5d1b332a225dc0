"""Backfilling: past business dates once more, from landing unless the branches are to be asked.

One run over a range of days, in this process or as runs of the DAG pull_branches: opened, read again branch by branch,
closed by `kkbc.nights.run.close_pull`, and then built like a night, up to the latest business date that was ever run.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from croniter import croniter

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.exchange.registry import load_registry
from kkbc.nights import plain
from kkbc.nights.notify import notify_operators
from kkbc.nights.prepare import prepare
from kkbc.nights.request import Gate, Mode, RunRequest, write_request
from kkbc.nights.run import close_pull
from kkbc.nights.setup import check_contracts
from kkbc.slices import AuditNote, RereadReport, reread
from kkbc.warehouse import connect
from kkbc.warehouse.kept import check_key, check_landing_keys


def open_backfill(request: RunRequest, *, mode: Mode, run_id: str) -> list[str]:
    """Opens a run that reads the days of `request.reread` again; returns the branches with slices in force of them.

    The branches of the request are the only ones that come into question. The run stands for the latest business date,
    so that the build after it does not end before that.
    Raises UserError for days in the wrong order, a broken contract or registry, a missing or wrong key, and when no
    night was run yet.
    """
    assert request.reread is not None
    since, until = request.reread
    if since > until:
        raise UserError(f"no day is from {since} until {until}", "give the earlier day first")
    for name in request.branch_ids:
        load_registry().get(name)
    check_contracts()
    with connect("loader") as conn:
        check_key(conn)
        check_landing_keys(conn)
        latest = conn.execute("select max(as_of) from ops.run").fetchone()
        if latest is None or latest[0] is None:
            raise UserError("no night has run yet", "there is nothing to read again before the first pull")
        # What a request says of ways, the first day or a full refresh is of no account where landing is read.
        asked = RunRequest(
            as_of=latest[0],
            gate=request.gate,
            branch_ids=request.branch_ids,
            reread=request.reread,
            requested_by=request.requested_by,
        )
        write_request(conn, run_id, asked, mode=mode)
        rows = conn.execute(
            "select distinct branch_id from ops.slice where status = 'loaded' and business_date between %s and %s"
            " and (%s or branch_id = any(%s)) order by 1",
            [since, until, not request.branch_ids, list(request.branch_ids)],
        ).fetchall()
    return [name for (name,) in rows]


def latest_as_of(day: date) -> date:
    """`day`, or the latest business date that was run when that is later: marts never end before it."""
    with connect("loader") as conn:
        row = conn.execute("select greatest(max(as_of), %s) from ops.run", [day]).fetchone()
    assert row is not None
    latest: date = row[0]
    return latest


def is_first_of_its_day(schedule: str | None, at: datetime) -> bool:
    """Whether `at` is the first moment of `schedule` at which its business date is due.

    An hourly schedule has many moments for one business date, and a backfill a run for each: one of them does the work.
    """
    if schedule is None:
        return True
    local = at.astimezone(clock.JAKARTA)
    before: datetime = croniter(schedule, local).get_prev(datetime)
    return clock.latest_due(before) < clock.latest_due(local)


def backfill(
    since: date,
    until: date,
    note: AuditNote,
    *,
    branch_id: str | None = None,
    gate: Gate | None = None,
    progress: plain.Progress,
    print_line: plain.PrintLine,
) -> dict[str, Any]:
    """Reads these business dates again from landing, in this process, and builds and publishes what that changed.

    Returns slices, rows, accepted, passed and found in all, `failed` (slices by reason: they are as before) and
    publication_id. Raises UserError as open_backfill does, GateFailed when the gate stopped publication.
    """
    prepare()
    run_id = f"backfill__{since}_{until}__{clock.now():%Y%m%dT%H%M%S%f}"
    chosen = () if branch_id is None else (branch_id,)
    request = RunRequest(gate=gate, branch_ids=chosen, reread=(since, until), requested_by=note.done_by)
    branch_ids = open_backfill(request, mode="plain", run_id=run_id)
    sums: dict[str, Any] = {"run_id": run_id, "slices": 0, "rows": 0, "accepted": 0, "passed": 0, "found": 0}
    failed: dict[str, str] = {}
    progress("re-read", 0, len(branch_ids))
    reports = reread_each(branch_ids, since, until, AuditNote(note.why, note.done_by, run_id))
    for done, report in enumerate(reports, 1):
        found = report.summary()
        failed |= found.pop("failed")
        sums |= {key: sums[key] + value for key, value in found.items()}
        progress("re-read", done, len(branch_ids))
    outcome = close_pull(run_id)
    sums |= {"failed": failed, "as_of": outcome["as_of"], "publication_id": None}
    if outcome["news"]:
        sums |= plain.build_when_free(run_id, progress, print_line)
    notify_operators(run_id)
    return sums


def reread_each(branch_ids: Sequence[str], since: date, until: date, note: AuditNote) -> Iterator[RereadReport]:
    """Reads the slices in force of each branch again, some branches at a time; yields reports in the order they end.

    Raises what kkbc.slices.reread raises. Branches that were not begun by then are left alone; those under way end.
    """

    def reread_one(branch_id: str) -> RereadReport:
        with connect("loader", autocommit=True) as conn:
            return reread(conn, branch_id, since, until, note)

    with ThreadPoolExecutor(plain.PULL_THREADS, thread_name_prefix="kkbc-reread") as pool:
        try:
            for done in as_completed([pool.submit(reread_one, name) for name in branch_ids]):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def backfill_from_branches(
    until: date, request: RunRequest, *, progress: plain.Progress, print_line: plain.PrintLine = lambda line: None
) -> dict[str, Any]:
    """Asks the branches instead: whatever they offer and the warehouse does not hold, as any night does.

    What is held already is not taken again (Exchange rule 21). Returns what kkbc.nights.plain.run_night returns.
    """
    prepare()
    return plain.run_night(replace(request, as_of=latest_as_of(until)), progress, print_line)
