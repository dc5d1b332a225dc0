"""The slices of one visit, one after the other: fetched, landed, taken in, and loaded or rejected."""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg

from kkbc.core import tokens
from kkbc.core.disk import FULL, NoSpace, NotKept, check_disk, make_room
from kkbc.core.errors import BranchTimeout, BranchUnavailable, SliceRejected, UserError
from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import Branch, load_registry
from kkbc.exchange.slices import Delivery, Entry, Slice
from kkbc.intake.erasing import withhold
from kkbc.intake.landing import Landed, Landing
from kkbc.intake.process import take_in
from kkbc.intake.rewrites import Rewritten
from kkbc.intake.sources import Source
from kkbc.intake.validation import Context
from kkbc.nights.attempt import PullReport
from kkbc.slices import Outcome, SliceRecord, load, reject

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


class SliceLoader:
    """Takes the slices of one branch, one after the other, and counts them in the report."""

    def __init__(
        self,
        conn: psycopg.Connection,
        source: Source,
        branch: Branch,
        run_id: str,
        report: PullReport,
        suppression: Suppression | None = None,
    ) -> None:
        self.conn = conn
        self.source = source
        self.branch = branch
        self.run_id = run_id
        self.report = report
        self.suppression = suppression or Suppression()
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
            rewritten = self._withheld(taking.record)
            return self._reject(taking.record, rejected, known, rewritten)

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
                slice_,
                self.branch.zone,
                record.sent_at,
                self.branch_ids,
                record.manifest_seen_at,
                self.suppression,
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
        outcome = load(self.conn, contract, taking.record, intake.rows, intake.rewritten)
        self.report.load_seconds += time.perf_counter() - began
        self.report.loaded += outcome == "loaded"
        if outcome == "superseded":
            self.report.superseded += 1
            self.report.note(f"{slice_} came after a higher revision: it is kept, and superseded")
        self.report.rows += intake.rows.sent
        self.report.bytes += landed.bytes
        return outcome

    def _withheld(self, record: SliceRecord) -> Rewritten | None:
        """Nobody on the suppression list stays in the landed file of a slice that is rejected (Exchange rule 22)."""
        if record.landed_uri is None or not self.suppression:
            return None
        with self.landing.open(record.landed_uri, record.file_name) as landed:
            return withhold(self.landing, landed, self.suppression)

    def _reject(
        self, record: SliceRecord, rejected: SliceRejected, known: SliceRecord | None, rewritten: Rewritten | None
    ) -> Outcome:
        """Records the rejection, unless it is on record."""
        if self.conn.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.conn.rollback()
        found = (record.manifest_sha256, record.sha256, rejected.reason)
        if known is not None and found == (known.manifest_sha256, known.sha256, known.reason) and rewritten is None:
            return "rejected"
        record = replace(record, file_format=None, drift={})
        outcome = reject(self.conn, record, rejected.reason, rejected.detail, rewritten)
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

    Of the error its kind is reported, for its text may hold what the branch wrote.
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
