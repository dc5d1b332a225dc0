"""Backfilling: past business dates once more, from landing unless the branches are to be asked.

One run over a range of days, in this process or as runs of the DAG pull_branches: opened, read again branch by branch,
closed by `kkbc.nights.night.close_pull`, and then built like a night, up to the latest business date that was ever run.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal

from croniter import croniter

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.exchange.masking import without_texts
from kkbc.exchange.registry import load_registry
from kkbc.intake.validation import check_contract
from kkbc.nights import night, plain
from kkbc.nights.night import Wishes
from kkbc.nights.prepare import prepare
from kkbc.slices.quarantine import Deed
from kkbc.slices.reread import reread
from kkbc.warehouse import connect
from kkbc.warehouse.kept import check_key


def open_backfill(
    run_id: str, since: date, until: date, *, mode: Literal["airflow", "plain"], branch_ids: Sequence[str] | None = None
) -> list[str]:
    """Notes a run for the re-read of these business dates; returns the branches that have slices in force of them.

    `branch_ids` are the only ones that come into question, None: all. The run stands for the latest business date, so
    that the build after it does not end before that.
    Raises UserError for days in the wrong order, a broken contract or registry, a missing or wrong key, and when no
    night was run yet.
    """
    if since > until:
        raise UserError(f"no day is from {since} until {until}", "give the earlier day first")
    offices = frozenset(office.branch_id for office in load_registry().offices)
    for name in branch_ids or ():
        load_registry().get(name)
    for feed in feeds():
        check_contract(load_contract(feed), offices)
    with connect("loader") as conn:
        check_key(conn)
        noted = conn.execute(
            "insert into ops.run (run_id, as_of, mode)"
            " select %(run_id)s, max(as_of), %(mode)s from ops.run having count(*) > 0"
            " on conflict (run_id) do update set outcome = 'running', finished_at = null",
            {"run_id": run_id, "mode": mode},
        )
        if noted.rowcount == 0:
            raise UserError("no night has run yet", "there is nothing to read again before the first pull")
        rows = conn.execute(
            "select distinct branch_id from ops.slice where status = 'loaded' and business_date between %s and %s"
            " and (%s::text[] is null or branch_id = any(%s)) order by 1",
            [since, until, branch_ids and list(branch_ids), branch_ids and list(branch_ids)],
        ).fetchall()
    return [name for (name,) in rows]


@without_texts()
def reread_branch(branch_id: str, since: date, until: date, deed: Deed) -> dict[str, Any]:
    """Reads one branch's slices of these days again; see kkbc.slices.reread.reread. Returns the summary.

    Raises UserError when a slice could not be read again; the others were all the same.
    """
    with connect("loader", autocommit=True) as conn:
        report = reread(conn, branch_id, since, until, deed)
    if report.failed:
        raise UserError(
            f"{len(report.failed)} slices of {branch_id} could not be read again",
            "; ".join(f"{slice_}: {reason}" for slice_, reason in report.failed.items()),
        )
    return report.summary()


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
    deed: Deed,
    *,
    branch_id: str | None = None,
    gate: Literal["fail", "warn"] | None = None,
    progress: plain.Progress,
    say: plain.Say,
) -> dict[str, Any]:
    """Reads these business dates again from landing, in this process, and builds and publishes what that changed.

    Returns slices, rows, accepted, passed and found in all, `failed` (slices by reason: they are as before) and
    publication_id. Raises UserError as open_backfill does, GateFailed when the gate stopped publication.
    """
    plain.wish_gate(gate)
    prepare()
    run_id = f"backfill__{since}_{until}__{clock.now():%Y%m%dT%H%M%S%f}"
    branch_ids = open_backfill(
        run_id, since, until, mode="plain", branch_ids=None if branch_id is None else [branch_id]
    )
    sums: dict[str, Any] = {"run_id": run_id, "slices": 0, "rows": 0, "accepted": 0, "passed": 0, "found": 0}
    failed: dict[str, str] = {}
    progress("re-read", 0, len(branch_ids))
    for done, name in enumerate(branch_ids, 1):
        with connect("loader", autocommit=True) as conn:
            report = reread(conn, name, since, until, Deed(deed.why, deed.done_by, run_id))
        found = report.summary()
        failed |= found.pop("failed")
        sums |= {key: sums[key] + value for key, value in found.items()}
        progress("re-read", done, len(branch_ids))
    outcome = night.close_pull(run_id)
    sums |= {"failed": failed, "as_of": outcome["as_of"], "publication_id": None}
    if outcome["news"]:
        sums |= plain.build_when_free(run_id, progress, say)
    plain.tell_operators(run_id)
    return sums


def backfill_from_branches(
    until: date, wishes: Wishes, *, progress: plain.Progress, say: plain.Say = lambda line: None
) -> dict[str, Any]:
    """Asks the branches instead: whatever they offer and the warehouse does not hold, as any night does.

    What is held already is not taken again (Exchange rule 21). Returns what kkbc.nights.plain.run_night returns.
    """
    prepare()
    return plain.run_night(
        Wishes(latest_as_of(until), wishes.source_root, wishes.ways, gate=wishes.gate), progress, say
    )
