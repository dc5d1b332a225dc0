"""Pull: everything outstanding of one branch, from manifest to committed rows, slice by slice.

Outstanding is whatever the warehouse does not hold yet: due, missing before, revised, or rejected and mended since,
however old. What is there already is left alone, so that pulling again changes nothing.
"""

import errno
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from kkbc import clock, privacy
from kkbc.contracts import load_contract
from kkbc.errors import SliceRejected, UserError
from kkbc.intake import take_in
from kkbc.landing import Landed, Landing
from kkbc.registry import Branch, load_registry
from kkbc.settings import get_settings
from kkbc.slices import Delivery, Entry, Slice
from kkbc.sources import Manifest, Source, Wanted, open_source
from kkbc.spool import spool_folder
from kkbc.validation import Context
from kkbc.warehouse import locks
from kkbc.warehouse.load import Outcome, SliceRecord, load, reject

# Days younger than this are asked for at every visit, older ones that are settled once in so many hours.
RECENT_DAYS = 7
ASK_AGAIN_HOURS = 20
# How long a visit waits for another one of the same branch to end, before it leaves the branch to that one.
OTHERS_SECONDS = 3


@dataclass
class PullReport:
    """What one visit to a branch brought. `notes` are lines for the operator, without personal data."""

    branch_id: str
    kind: str
    started_at: datetime
    finished_at: datetime | None = None
    loaded: int = 0
    rejected: int = 0
    superseded: int = 0
    load_seconds: float = 0.0
    bytes: int = 0
    rows: int = 0
    outcome: str = "nothing_new"
    reason: str | None = None
    notes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """The report as JSON values."""
        values = asdict(self)
        for name in ("started_at", "finished_at"):
            values[name] = values[name] and values[name].isoformat()
        return values


def pull(conn: psycopg.Connection, branch: Branch, *, run_id: str, until: date, root: Path | None) -> PullReport:
    """Pulls and loads what is outstanding of `branch` with a business date of `until` or before.

    `conn` acts as role loader, in autocommit mode; `root` is the folder of kind `file`. Every slice commits by itself:
    after a failure half way, what was loaded stays and the next pull goes on from there. While another pull of the
    branch is under way, this one does nothing. The visit is a row of ops.attempt from its first moment on.
    Raises UserError for a set-up that cannot work; BranchRefused, BranchUnavailable or BranchTimeout for a branch that
    cannot be visited.
    """
    report = PullReport(branch.branch_id, branch.kind, clock.now())
    attempt_id = _open_attempt(conn, run_id, report)
    try:
        with _alone(conn, branch) as alone:
            if alone:
                _bury_killed_attempts(conn, branch, attempt_id)
                with closing(open_source(branch, root)) as source:
                    _pull_outstanding(conn, source, branch, run_id, until, report)
            else:
                report.notes.append("another pull of this branch is under way; left to it")
        if report.loaded or report.rejected or report.superseded:
            report.outcome = "loaded"
    except BaseException as error:
        report.outcome, report.reason = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        # Where the connection itself is what failed, the error on its way up says more.
        with suppress(psycopg.OperationalError):
            _close_attempt(conn, attempt_id, report)
        raise
    _close_attempt(conn, attempt_id, report)
    return report


def _pull_outstanding(
    conn: psycopg.Connection, source: Source, branch: Branch, run_id: str, until: date, report: PullReport
) -> None:
    settled = _settled_manifests(conn, branch)
    loader = _SliceLoader(conn, source, branch, run_id, report)
    unchanged = []
    for manifest in source.manifests(_wanted(conn, branch, until)):
        if settled.get((manifest.business_date, manifest.name)) == manifest.stamp:
            unchanged.append(manifest.business_date)
            continue
        delivery = manifest.read()
        place = f"{delivery.business_date} {delivery.manifest_name}"
        report.notes += [f"{place}: unknown feed {feed!r} ignored" for feed in delivery.unknown_feeds]
        report.notes += [f"{place}: {name!r} is not listed, ignored" for name in delivery.unlisted]
        outcomes = [loader.take(delivery, entry) for entry in delivery.entries]
        _remember(conn, branch, manifest, delivery, settled="rejected" not in outcomes)
    conn.execute(
        "update ops.manifest set checked_at = now() where branch_id = %s and business_date = any(%s)",
        [branch.branch_id, unchanged],
    )


def _wanted(conn: psycopg.Connection, branch: Branch, until: date) -> Wanted:
    """From when on a branch is asked, and which days need not be asked for again just now."""
    row = conn.execute("select value::date from ops.setting where name = 'first_business_date'").fetchone()
    first = row[0] if row is not None else until
    since = branch.active_from or first - timedelta(days=get_settings().history_days)
    rows = conn.execute(
        "select business_date from ops.manifest where branch_id = %s and business_date <= %s"
        " group by business_date having bool_and(settled and checked_at > now() - %s)",
        [branch.branch_id, until - timedelta(days=RECENT_DAYS), timedelta(hours=ASK_AGAIN_HOURS)],
    ).fetchall()
    return Wanted(since, until, frozenset(day for (day,) in rows))


class _SliceLoader:
    """Takes the slices of one branch, one after the other, and counts them in the report."""

    def __init__(
        self, conn: psycopg.Connection, source: Source, branch: Branch, run_id: str, report: PullReport
    ) -> None:
        self.conn = conn
        self.source = source
        self.branch = branch
        self.run_id = run_id
        self.report = report
        self.landing = Landing(get_settings().landing)
        self.key = privacy.load_key()
        self.branch_ids = frozenset(office.branch_id for office in load_registry().offices)

    def take(self, delivery: Delivery, entry: Entry) -> Outcome:
        """Lands one slice and loads or rejects it; does nothing for one that is known (Exchange rule 21)."""
        slice_ = delivery.slice_of(entry)
        known = self._known(slice_)
        if known is not None and known["status"] != "rejected":
            # Ways that send no files announce a number of rows and no checksum to compare.
            same = known["sha256"] == entry.sha256 if entry.sha256 else known["manifest_rows"] == entry.rows
            if known["manifest_sha256"] != delivery.manifest_sha256 and not same:
                self.report.notes.append(f"{slice_} came again with other bytes, ignored: what was accepted stays")
            return "known"
        sent_at = entry.sent_at or delivery.sent_at
        record = SliceRecord(slice_, self.run_id, delivery.manifest_sha256, entry.rows, sent_at, file_name=entry.name)
        with spool_folder(slice_.branch_id) as folder:
            landed, failure = self._land(slice_, delivery, entry, folder / "sent")
            if landed is not None:
                record = replace(record, bytes=landed.bytes, sha256=landed.sha256, landed_uri=landed.uri)
            try:
                if failure is not None or landed is None:
                    raise failure or SliceRejected("FILE_MISSING", "nothing was fetched")
                contract = load_contract(slice_.feed)
                context = Context(slice_, self.branch.zone, sent_at, self.branch_ids)
                intake = take_in(landed, entry, contract, context, self.landing, self.key)
            except SliceRejected as rejected:
                same = {"manifest_sha256": delivery.manifest_sha256, "sha256": record.sha256, "reason": rejected.reason}
                if known is not None and same.items() <= known.items():
                    return "rejected"
                outcome = reject(self.conn, record, rejected.reason, rejected.detail)
                self.report.rejected += outcome == "rejected"
                self.report.notes.append(f"{slice_} rejected: {rejected}")
                return outcome
        record = replace(record, file_format=intake.format, drift=intake.found)
        began = time.perf_counter()
        outcome = load(self.conn, contract, record, intake.rows)
        self.report.load_seconds += time.perf_counter() - began
        self.report.loaded += outcome == "loaded"
        self.report.superseded += outcome == "superseded"
        self.report.rows += intake.rows.sent
        self.report.bytes += landed.bytes
        return outcome

    def _land(
        self, slice_: Slice, delivery: Delivery, entry: Entry, spooled: Path
    ) -> tuple[Landed | None, SliceRejected | None]:
        """Fetches and lands the bytes; those of a slice or delivery that is condemned too, as far as they came."""
        failure = SliceRejected(*delivery.rejection) if delivery.rejection is not None else None
        try:
            self.source.fetch(delivery, entry, spooled)
        except SliceRejected as rejected:
            failure = failure or rejected
            if not spooled.is_file() or spooled.stat().st_size == 0:
                return None, failure
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"no space left in {spooled.parent.parent}", "free disk space there") from error
            raise
        name = entry.name or f"{entry.feed}.jsonl"
        return self.landing.land(slice_, name, spooled), failure

    def _known(self, slice_: Slice) -> dict[str, Any] | None:
        columns = ("status", "reason", "manifest_sha256", "manifest_rows", "sha256")
        row = self.conn.execute(
            "select status, reason, manifest_sha256, manifest_rows, sha256 from ops.slice"
            " where feed = %s and branch_id = %s and business_date = %s and revision = %s",
            [slice_.feed, slice_.branch_id, slice_.business_date, slice_.revision],
        ).fetchone()
        return None if row is None else dict(zip(columns, row, strict=True))


@contextmanager
def _alone(conn: psycopg.Connection, branch: Branch) -> Iterator[bool]:
    """Whether no other session pulls this branch; held until the block ends, or the connection does.

    Waits a moment before it says no: the session of a worker that was killed lasts until the server notices that.
    """
    # Otherwise the server would not look for its client while that waits, say, for the end of a build.
    locks.end_with_client(conn)
    with ExitStack() as stack:
        try:
            what = f"visit of {branch.branch_id}"
            stack.enter_context(locks.held_branch(branch.branch_id, what, role="loader", seconds=OTHERS_SECONDS))
        except locks.Busy:
            yield False
        else:
            yield True


def _settled_manifests(conn: psycopg.Connection, branch: Branch) -> dict[tuple[date, str], str]:
    rows = conn.execute(
        "select business_date, name, stamp from ops.manifest where branch_id = %s and settled", [branch.branch_id]
    ).fetchall()
    return {(day, name): stamp for day, name, stamp in rows}


def _remember(
    conn: psycopg.Connection, branch: Branch, manifest: Manifest, delivery: Delivery, *, settled: bool
) -> None:
    conn.execute(
        "insert into ops.manifest (branch_id, business_date, name, stamp, sha256, settled)"
        " values (%s, %s, %s, %s, %s, %s)"
        " on conflict (branch_id, business_date, name) do update"
        " set stamp = excluded.stamp, sha256 = excluded.sha256, settled = excluded.settled, seen_at = now()",
        [
            branch.branch_id,
            manifest.business_date,
            manifest.name,
            manifest.stamp,
            delivery.manifest_sha256,
            settled,
        ],
    )


def _open_attempt(conn: psycopg.Connection, run_id: str, report: PullReport) -> int:
    row = conn.execute(
        "insert into ops.attempt (run_id, branch_id, kind, started_at, outcome)"
        " values (%s, %s, %s, %s, 'running') returning attempt_id",
        [run_id, report.branch_id, report.kind, report.started_at],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _bury_killed_attempts(conn: psycopg.Connection, branch: Branch, attempt_id: int) -> None:
    """Whoever holds the branch's lock knows that earlier attempts still noted as running are no more."""
    conn.execute(
        "update ops.attempt set outcome = 'killed', finished_at = now(), reason = 'the process or its connection ended'"
        " where branch_id = %s and outcome = 'running' and attempt_id < %s",
        [branch.branch_id, attempt_id],
    )


def _close_attempt(conn: psycopg.Connection, attempt_id: int, report: PullReport) -> None:
    report.finished_at = clock.now()
    conn.execute(
        "update ops.attempt set finished_at = %s, load_seconds = %s, slices = %s, bytes = %s, rows = %s, outcome = %s,"
        " reason = %s, notes = %s where attempt_id = %s",
        [
            report.finished_at,
            report.load_seconds,
            report.loaded + report.rejected + report.superseded,
            report.bytes,
            report.rows,
            report.outcome,
            report.reason,
            report.notes,
            attempt_id,
        ],
    )
