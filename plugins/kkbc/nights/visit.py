"""Pull: everything outstanding of one branch, from manifest to committed rows, slice by slice.

Outstanding is whatever the warehouse does not hold yet: due, missing before, revised, or rejected and mended since,
however old. What is there already is left alone, so that pulling again changes nothing.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg

from kkbc.core import clock, tokens
from kkbc.core.disk import FULL, NoSpace, NotKept, check_disk, make_room
from kkbc.core.errors import BranchTimeout, BranchUnavailable, SliceRejected, UserError
from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.masking import shown_name, shown_names, told_error
from kkbc.exchange.registry import Branch, load_registry
from kkbc.exchange.slices import Delivery, Entry, Slice
from kkbc.intake.landing import Landed, Landing
from kkbc.intake.process import take_in
from kkbc.intake.sources import Bounds, Manifest, OneRefused, OneUnavailable, Source, Wanted, open_source
from kkbc.intake.validation import Context
from kkbc.slices import Outcome, SliceRecord, branch_locked, load, reject
from kkbc.warehouse import locks

# Days younger than this are asked for at every visit, older ones that are settled once in so many hours.
RECENT_DAYS = 7
ASK_AGAIN_HOURS = 20
# How long a visit waits for another one of the same branch to end, before it leaves the branch to that one.
OTHERS_SECONDS = 3
# A manifest that says that it was sent so long after it was seen was sent by a clock that is wrong (Exchange rule 30).
CLOCKS_APART = timedelta(days=1)
# What a report holds of one kind, of a branch that has no end of things to be told.
MOST_NAMES = 20
MOST_NOTES = 500
NOTE_CHARACTERS = 500

# What concerns more than the slice that was at work: the set-up, the branch as a whole, the warehouse. All else that
# goes wrong with one slice is that slice's (Exchange rule 38).
CONCERNS_MORE = (
    UserError,
    BranchUnavailable,
    BranchTimeout,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.ProgrammingError,
)


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

    def note(self, text: str) -> None:
        """Adds a line, as far as a report has room for lines, and whatever characters are in it."""
        if len(self.notes) < MOST_NOTES:
            self.notes.append(storable(text)[:NOTE_CHARACTERS])
        elif len(self.notes) == MOST_NOTES:
            self.notes.append("there are more notes than these")

    def summary(self) -> dict[str, Any]:
        """The report as JSON values."""
        values = asdict(self)
        for name in ("started_at", "finished_at"):
            values[name] = values[name] and values[name].isoformat()
        return values


def storable(text: str) -> str:
    """A text as every store can hold it: NUL and lone surrogates are escaped (Exchange rule 38)."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def pull(conn: psycopg.Connection, branch: Branch, *, run_id: str, until: date, root: Path | None) -> PullReport:
    """Pulls and loads what is outstanding of `branch` with a business date of `until` or before.

    `conn` acts as role loader, in autocommit mode; `root` is the folder of kind `file`. Every slice commits by itself:
    after a failure half way, what was loaded stays and the next pull goes on from there; what goes wrong with one
    manifest or slice leaves the others be (Exchange rule 38). The visit takes no longer than the settings allow, from
    connecting to the last byte (Exchange rule 35). While another pull of the branch is under way, this one does
    nothing. The visit is a row of ops.attempt from its first moment on.
    Raises UserError for a set-up that cannot work; BranchRefused, BranchUnavailable or BranchTimeout for a branch that
    cannot be visited.
    """
    report = PullReport(branch.branch_id, branch.kind, clock.now())
    attempt_id = _open_attempt(conn, run_id, report)
    try:
        with _alone(conn, branch) as alone:
            if alone:
                _bury_killed_attempts(conn, branch, attempt_id)
                bounds = Bounds()
                with closing(open_source(branch, root, bounds)) as source:
                    bounds.deadline.begin()  # looking the connection up may have taken Airflow's seconds
                    _Visit(conn, source, branch, run_id, report, bounds).run(until)
            else:
                report.note("another pull of this branch is under way; left to it")
        if report.loaded or report.rejected or report.superseded:
            report.outcome = "loaded"
    except BaseException as error:
        report.outcome, report.reason = "failed", storable(told_error(error))
        # Where the connection itself is what failed, the error on its way up says more.
        with suppress(psycopg.OperationalError):
            _close_attempt(conn, attempt_id, report)
        raise
    _close_attempt(conn, attempt_id, report)
    return report


class _Visit:
    """One visit to a branch: its manifests one after the other, and of each what is outstanding."""

    def __init__(
        self,
        conn: psycopg.Connection,
        source: Source,
        branch: Branch,
        run_id: str,
        report: PullReport,
        bounds: Bounds,
    ) -> None:
        self.conn = conn
        self.source = source
        self.branch = branch
        self.report = report
        self.bounds = bounds
        self.loader = _SliceLoader(conn, source, branch, run_id, report)
        self._aside: OneRefused | OneUnavailable | None = None

    def run(self, until: date) -> None:
        """Takes what is outstanding up to `until`. What could not be had, of one day or slice, is raised at the end.

        What an earlier visit tried and did not settle comes last: a slice that takes all the time of a visit would
        else keep the branch's other days back for ever.
        """
        known = _known_manifests(self.conn, self.branch)
        unchanged, tried = [], []
        for manifest in self.source.manifests(_wanted(self.conn, self.branch, until)):
            stamp, settled = known.get((manifest.business_date, shown_name(manifest.name)), (None, False))
            if stamp != storable(manifest.stamp):
                self._pull(manifest)
            elif settled:
                unchanged.append(manifest.business_date)
            else:
                tried.append(manifest)
        for manifest in tried:
            self._pull(manifest)
        self.conn.execute(
            "update ops.manifest set checked_at = now() where branch_id = %s and business_date = any(%s)",
            [self.branch.branch_id, unchanged],
        )
        if self._aside is not None:
            raise self._aside

    def _pull(self, manifest: Manifest) -> None:
        self.bounds.deadline.check(f"branch {self.branch.branch_id}")
        delivery = self._read(manifest)
        if delivery is not None:
            self._take(manifest, delivery)

    def _read(self, manifest: Manifest) -> Delivery | None:
        """The delivery that a manifest announces; None for one that cannot be read, which is reported."""
        try:
            return manifest.read()
        except (OneRefused, OneUnavailable) as error:
            self._set_aside(error)
        except CONCERNS_MORE:
            raise
        except Exception as error:
            self.report.note(f"{_place(manifest)}: the manifest cannot be read ({type(error).__name__})")
        return None

    def _take(self, manifest: Manifest, delivery: Delivery) -> None:
        place = _place(manifest)
        self._report(place, "unknown feed {} ignored", shown_names(delivery.unknown_feeds))
        self._report(place, "{} is not listed, ignored", shown_names(delivery.unlisted))
        self._report(place, "{}", list(delivery.notes))
        seen_at = _see(self.conn, self.branch, manifest, delivery)
        sent = [entry.sent_at or delivery.sent_at for entry in delivery.entries]
        if any(sent_at is not None and sent_at > seen_at + CLOCKS_APART for sent_at in sent):
            self.report.note(
                f"{place}: sent_at is more than a day after it was first seen: the branch's clock is wrong"
            )
        settled = True
        for entry in delivery.entries:
            self.bounds.deadline.check(f"branch {self.branch.branch_id}")
            try:
                settled &= self.loader.take(delivery, entry, seen_at) != "rejected"
            except (OneRefused, OneUnavailable) as error:
                self._set_aside(error)
                settled = False
        if settled:
            _settle(self.conn, self.branch, manifest)

    def _set_aside(self, error: OneRefused | OneUnavailable) -> None:
        """Keeps an error for the end. A second failure to answer is taken for one of the branch itself."""
        if isinstance(error, OneUnavailable) and isinstance(self._aside, OneUnavailable):
            raise error
        self._aside = self._aside or error

    def _report(self, place: str, form: str, names: list[str]) -> None:
        for name in names[:MOST_NAMES]:
            self.report.note(f"{place}: {form.format(name)}")
        if len(names) > MOST_NAMES:
            self.report.note(f"{place}: {form.format(f'and {len(names) - MOST_NAMES} more')}")


def _place(manifest: Manifest) -> str:
    return f"{manifest.business_date} {shown_name(manifest.name)}"


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
        self.slice_bytes = get_settings().slice_bytes
        self.key = tokens.load_key()
        self.branch_ids = frozenset(office.branch_id for office in load_registry().offices)

    def take(self, delivery: Delivery, entry: Entry, seen_at: datetime) -> Outcome:
        """Lands one slice and loads or rejects it; does nothing for one that is known (Exchange rule 21).

        `seen_at` is when its manifest was first seen. Whatever goes wrong with the slice alone rejects it (Exchange
        rule 38); raises what concerns more than that, OneRefused and OneUnavailable included.
        """
        slice_ = delivery.slice_of(entry)
        known = SliceRecord.load(self.conn, slice_)
        if known is not None and known.status != "rejected":
            # Ways that send no files announce a number of rows and no checksum to compare.
            same = known.sha256 == entry.sha256 if entry.sha256 else known.manifest_rows == entry.rows
            if known.manifest_sha256 != delivery.manifest_sha256 and not same:
                self.report.note(f"{slice_} came again with other bytes, ignored: what was accepted stays")
            return "known"
        taking = _Taking(
            SliceRecord(
                slice_,
                self.run_id,
                delivery.manifest_sha256,
                entry.rows,
                entry.sent_at or delivery.sent_at,
                manifest_seen_at=seen_at,
                file_name=entry.name,
            )
        )
        try:
            return self._load(delivery, entry, taking)
        except BaseException as error:
            rejected = _rejection(error)
            if rejected is None:
                raise
            return self._reject(taking.record, rejected, known)

    def _load(self, delivery: Delivery, entry: Entry, taking: "_Taking") -> Outcome:
        slice_ = taking.record.slice
        with spool_folder(slice_.branch_id) as folder:
            landed, failure = self._land(slice_, delivery, entry, folder / "sent")
            if landed is not None:
                taking.record = replace(taking.record, bytes=landed.bytes, sha256=landed.sha256, landed_uri=landed.uri)
            if failure is not None or landed is None:
                raise failure or SliceRejected("FILE_MISSING", "nothing was fetched")
            contract = load_contract(slice_.feed)
            record = taking.record
            context = Context(
                slice_, self.branch.zone, record.sent_at, self.branch_ids, seen_at=record.manifest_seen_at
            )
            try:
                intake = take_in(landed, entry, contract, context, self.landing, self.key)
            except NoSpace:
                # The bytes are what others need the room for; the branch has them still.
                self.landing.remove(landed)
                taking.record = replace(record, landed_uri=None)
                raise
        taking.record = replace(taking.record, file_format=intake.format, drift=intake.found)
        began = time.perf_counter()
        outcome = load(self.conn, contract, taking.record, intake.rows)
        self.report.load_seconds += time.perf_counter() - began
        self.report.loaded += outcome == "loaded"
        if outcome == "superseded":
            self.report.superseded += 1
            self.report.note(f"{slice_} came after a higher revision: it is kept, and superseded")
        self.report.rows += intake.rows.sent
        self.report.bytes += landed.bytes
        return outcome

    def _reject(self, record: SliceRecord, rejected: SliceRejected, known: SliceRecord | None) -> Outcome:
        """Records the rejection, unless it is on record."""
        if self.conn.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.conn.rollback()
        found = (record.manifest_sha256, record.sha256, rejected.reason)
        if known is not None and found == (known.manifest_sha256, known.sha256, known.reason):
            return "rejected"
        outcome = reject(self.conn, replace(record, file_format=None, drift={}), rejected.reason, rejected.detail)
        self.report.rejected += outcome == "rejected"
        self.report.note(f"{record.slice} rejected: {rejected}")
        return outcome

    def _land(
        self, slice_: Slice, delivery: Delivery, entry: Entry, spooled: Path
    ) -> tuple[Landed | None, SliceRejected | None]:
        """Fetches and lands the bytes; those of a slice or delivery that is condemned too, as far as they came."""
        failure = SliceRejected(*delivery.rejection) if delivery.rejection is not None else None
        check_disk(spooled.parent, "the spool")
        self.landing.check_disk()
        make_room(spooled.parent, min(entry.bytes or 0, self.slice_bytes))
        try:
            self.source.fetch(delivery, entry, spooled)
        except NotKept:
            spooled.unlink(missing_ok=True)
            raise
        except SliceRejected as rejected:
            failure = failure or rejected
            if not spooled.is_file() or spooled.stat().st_size == 0:
                return None, failure
        self.landing.make_room(spooled.stat().st_size)
        name = entry.name or f"{entry.feed}.jsonl"
        return self.landing.land(slice_, name, spooled), failure


@dataclass
class _Taking:
    """What is known by now of the slice that is being taken."""

    record: SliceRecord


def _rejection(error: BaseException) -> SliceRejected | None:
    """What it means for a slice that `error` came up while it was taken; None for an error that concerns more.

    Of the error its kind is told, for its text may hold what the branch wrote.
    """
    if isinstance(error, SliceRejected):
        return error
    if isinstance(error, NoSpace) or (isinstance(error, OSError) and error.errno in FULL):
        return SliceRejected("UNREADABLE", "NoSpace: the disk took no more of it")
    # A library that panics does so past all that is an Exception.
    is_panic = type(error).__module__ == "pyo3_runtime"
    if isinstance(error, CONCERNS_MORE) or not (is_panic or isinstance(error, Exception)):
        return None
    of_database = error.__context__ if isinstance(error.__context__, psycopg.Error) else error
    return SliceRejected("UNREADABLE", f"{type(of_database).__name__} while it was taken in")


@contextmanager
def _alone(conn: psycopg.Connection, branch: Branch) -> Iterator[bool]:
    """Whether no other session pulls this branch; it is locked until the block ends, or the connection does.

    Waits a moment before it says no: the session of a worker that was killed lasts until the server notices that.
    """
    # Otherwise the server would not look for its client while that waits, say, for the end of a build.
    locks.end_with_client(conn)
    with ExitStack() as stack:
        try:
            what = f"visit of {branch.branch_id}"
            stack.enter_context(branch_locked(branch.branch_id, what, seconds=OTHERS_SECONDS))
        except locks.Busy:
            yield False
        else:
            yield True


def _known_manifests(conn: psycopg.Connection, branch: Branch) -> dict[tuple[date, str], tuple[str, bool]]:
    """Stamp of each manifest that was seen before, by its day and name, and whether all of it is settled."""
    rows = conn.execute(
        "select business_date, name, stamp, settled from ops.manifest where branch_id = %s", [branch.branch_id]
    ).fetchall()
    return {(day, name): (stamp, settled) for day, name, stamp, settled in rows}


def _see(conn: psycopg.Connection, branch: Branch, manifest: Manifest, delivery: Delivery) -> datetime:
    """Notes a manifest that is about to be taken; returns when it was first seen with that content."""
    row = conn.execute(
        "insert into ops.manifest as known (branch_id, business_date, name, stamp, sha256, settled, first_seen_at)"
        " values (%s, %s, %s, %s, %s, false, %s)"
        " on conflict (branch_id, business_date, name) do update"
        " set stamp = excluded.stamp, sha256 = excluded.sha256, settled = false, seen_at = now(), first_seen_at ="
        " case when known.sha256 = excluded.sha256 then known.first_seen_at else excluded.first_seen_at end"
        " returning first_seen_at",
        [
            branch.branch_id,
            manifest.business_date,
            shown_name(manifest.name),
            storable(manifest.stamp),
            delivery.manifest_sha256,
            clock.now(),
        ],
    ).fetchone()
    assert row is not None
    return cast("datetime", row[0])


def _settle(conn: psycopg.Connection, branch: Branch, manifest: Manifest) -> None:
    """Notes that nothing of a manifest is left to do."""
    conn.execute(
        "update ops.manifest set settled = true where branch_id = %s and business_date = %s and name = %s",
        [branch.branch_id, manifest.business_date, shown_name(manifest.name)],
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
