"""Retry: quarantined rows of the slices in force are judged again; those that pass are loaded into their slice.

They are judged by the rules, code lists and registry of today, from the landed bytes. Rows that were accepted before
stay as they are, unless one that passes now has their key and is later (Exchange rule 3).
"""

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.spool import spool_folder
from kkbc.core.suppression import Suppression
from kkbc.exchange import masking
from kkbc.exchange.contracts import Contract, feeds, load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Slice
from kkbc.intake.parts import Parts
from kkbc.intake.process import KEY_DUPLICATE, set_aside
from kkbc.intake.validation import check_contract, duplicate_lines, key_columns
from kkbc.slices.locks import lock_slice
from kkbc.slices.note import AuditNote
from kkbc.slices.quarantine.selection import CHOSEN, Selection
from kkbc.slices.record import THIS_SLICE, SliceRecord, add_counts
from kkbc.slices.rejudging import Rejudge
from kkbc.slices.rows import accepted_with_keys_of, copy_rows, delete_lines, next_load_id
from kkbc.slices.settling import add_verdicts, note_verdicts, settle
from kkbc.slices.suppressing import load_suppression
from kkbc.warehouse.kept import check_key, check_landing_keys

ATTEMPTS = 5


@dataclass(frozen=True)
class Retried:
    """What came of the chosen rows of one slice.

    judged: rows judged again; accepted: now loaded; changed: still quarantined, with other codes; displaced: rows that
    were accepted before and lost their key to one of these.
    """

    slice: Slice
    judged: int
    accepted: int
    changed: int
    displaced: int


@dataclass
class RetryReport:
    """What came of a retry; `failed` names the slices that could not be retried, with the reason."""

    slices: list[Retried] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Sums over all slices, and the slices where something changed, as JSON values."""
        names = ("judged", "accepted", "changed", "displaced")
        return {
            **{name: sum(getattr(done, name) for done in self.slices) for name in names},
            "slices": [
                {"slice": str(done.slice), **{name: getattr(done, name) for name in names}}
                for done in self.slices
                if done.accepted or done.changed
            ],
            "failed": self.failed,
        }


def retry(
    conn: psycopg.Connection,
    selection: Selection,
    note: AuditNote,
    *,
    dry_run: bool = False,
    suppression: Suppression | None = None,
) -> RetryReport:
    """Judges the chosen open rows of the slices in force again, slice by slice.

    `conn` acts as role loader, in autocommit mode. Each slice is one transaction under the locks of a load, so that a
    build sees all of it or nothing, and retrying again changes nothing. The next build covers the slices that changed.
    With `dry_run` each transaction is rolled back. A slice whose landed file cannot be read again is left as it was and
    named in the report. Rows of persons on the list `suppression` stay quarantined, as ERASED. Raises UserError for a
    broken contract or registry and for a missing or wrong key.
    """
    offices = frozenset(office.branch_id for office in load_registry().offices)
    for feed in feeds():
        check_contract(load_contract(feed), offices)
    with conn.transaction():
        check_key(conn)
        check_landing_keys(conn)
    retrier = _Retrier(
        conn, selection, note, dry_run, Rejudge(load_suppression(conn) if suppression is None else suppression)
    )
    report = RetryReport()
    for slice_ in slices_to_retry(conn, selection):
        try:
            report.slices.append(retrier.retry(slice_))
        except (UserError, SliceRejected) as error:
            report.failed[str(slice_)] = str(error)
    return report


def slices_to_retry(conn: psycopg.Connection, selection: Selection) -> list[Slice]:
    """The slices in force with open rows that `selection` lets through, oldest first."""
    rows = conn.execute(
        "select distinct q.feed, q.branch_id, q.business_date, q.revision"  # noqa: S608 (a constant)
        " from ops.quarantine q join ops.slice s using (feed, branch_id, business_date, revision)"
        f" where s.status = 'loaded' and q.closed_at is null and {CHOSEN}"
        " order by q.business_date, q.branch_id, q.feed",
        selection.parameters(),
    ).fetchall()
    return [Slice(*row) for row in rows]


class _SliceMoved(Exception):
    """The slice or its open rows changed while they were judged: another load, retry or person was faster."""


class _Retrier:
    """Retries slices one after the other, over one connection."""

    def __init__(
        self, conn: psycopg.Connection, selection: Selection, note: AuditNote, dry_run: bool, rejudge: Rejudge
    ) -> None:
        self.conn = conn
        self.selection = selection
        self.note = note
        self.dry_run = dry_run
        self.rejudge = rejudge

    def retry(self, slice_: Slice) -> Retried:
        """Retries one slice. The file is read and judged before the transaction, which is thus a short one."""
        for _ in range(ATTEMPTS):
            record = SliceRecord.load(self.conn, slice_)
            lines = _open_lines(self.conn, slice_, self.selection)
            if record is None or record.status != "loaded" or lines.is_empty():
                return Retried(slice_, 0, 0, 0, 0)
            with spool_folder("retry") as folder, suppress(_SliceMoved):
                parts = self.rejudge.lines(record, lines, folder)
                with self.conn.transaction():
                    done = _Transaction(self.conn, record, load_contract(slice_.feed), parts, self.note).run()
                    if self.dry_run:
                        raise psycopg.Rollback
                return done
        raise UserError(f"{slice_} is being worked on by others", "try again in a while")


_LOCK_OPEN = f"""
select count(*) from (
    select from ops.quarantine q join pg_temp.verdict v using (line) where {THIS_SLICE} and q.closed_at is null
    for update of q
) as still_open
"""  # noqa: S608 (a constant)

# As kkbc.intake.validation counts: the NIK itself earned an error, or nobody could tell what is the NIK.
_NIK_REFUSED = f"""
select count(*)
from ops.quarantine q join pg_temp.verdict v using (line)
where {THIS_SLICE} and (
    'ROW_SHAPE' = any(q.errors)
    or exists (select from unnest(q.fields) as f where f like 'nik:%%' and substr(f, 5) = any(q.errors))
)
"""  # noqa: S608 (a constant)


class _Transaction:
    """Brings the new verdicts over one slice into the warehouse. Everything here is one transaction."""

    def __init__(
        self, conn: psycopg.Connection, record: SliceRecord, contract: Contract, parts: Parts, note: AuditNote
    ) -> None:
        self.conn = conn
        self.record = record
        self.slice = record.slice
        self.contract = contract
        self.parts = parts
        self.note = note

    def run(self) -> Retried:
        """Raises _SliceMoved when slice or rows are no longer those that were judged."""
        if lock_slice(self.conn, self.slice) != self.slice.revision:
            raise _SliceMoved
        displaced = self._judge_keys()
        judged = self._note_verdicts()
        nik_refused = self._count(_NIK_REFUSED)
        counts = self.parts.counts
        load_id = next_load_id(self.conn) if counts.accepted else None
        gone_warnings, gone_contactable = self._take_out(displaced)
        if load_id is not None:
            accepted = (self.parts.read(number).accepted for number in range(len(self.parts)))
            copy_rows(self.conn, self.contract, self.record, accepted, load_id)
        events = settle(self.conn, self.slice, self.note, load_id, refused_as="displaced")
        if events:
            more = replace(
                counts,
                accepted=counts.accepted - len(displaced),
                quarantined=len(displaced) - counts.accepted,
                warnings=counts.warnings - gone_warnings,
                nik_valid=(counts.nik_valid or 0) - (judged - nik_refused),
                contactable=(counts.contactable or 0) - gone_contactable,
            )
            add_counts(self.conn, self.slice, more, load_id)
        return Retried(self.slice, judged, counts.accepted, events.get("judged_anew", 0), len(displaced))

    def _judge_keys(self) -> list[int]:
        """Judges KEY_DUPLICATE over accepted rows and those that pass now; returns the accepted lines that lose."""
        displaced: list[int] = []
        columns = key_columns(self.contract)
        marked = masking.Marker(self.contract)
        for number in range(len(self.parts)):
            passing = marked(self.parts.accepted(number, columns))
            clashing = accepted_with_keys_of(self.conn, self.contract, self.slice, passing)
            if clashing.is_empty():
                continue
            losers = duplicate_lines(pl.concat([passing, clashing]), self.contract)
            accepted_before = losers.is_in(clashing["_line"].implode())
            displaced += losers.filter(accepted_before).to_list()
            self.parts.replace(
                number, set_aside(self.parts.read(number), losers.filter(~accepted_before), self.contract)
            )
        return displaced

    def _note_verdicts(self) -> int:
        """Notes the verdicts for `settle`; returns their number. Persons and resolves wait from here on."""
        note_verdicts(self.conn, self._verdicts())
        judged = self.parts.counts.accepted + self.parts.counts.quarantined
        if self._count(_LOCK_OPEN) != judged:
            raise _SliceMoved
        return judged

    def _verdicts(self) -> Iterator[pl.DataFrame]:
        none = pl.lit([], pl.List(pl.String))
        for number in range(len(self.parts)):
            part = self.parts.read(number)
            passed = part.accepted.select("_line", *(none.alias(name) for name in ("_errors", "_warnings", "_fields")))
            yield pl.concat([passed, part.quarantined.select(passed.columns)])

    def _take_out(self, displaced: list[int]) -> tuple[int, int]:
        """Takes out accepted rows, with the verdict that they are duplicates.

        Returns how many warnings and reachable persons went with them.
        """
        if not displaced:
            return 0, 0
        gone = delete_lines(self.conn, "raw", self.contract, self.slice, displaced, sql.SQL("_line, _warnings"))
        contacts = self.contract.contacts
        reachable = sql.SQL(" or ").join(sql.SQL("{} is not null").format(sql.Identifier(name)) for name in contacts)
        returning = reachable if contacts else sql.SQL("false")
        persons: list[Any] = []
        if self.contract.has_persons:
            persons = delete_lines(self.conn, "vault", self.contract, self.slice, displaced, returning)
        codes = pl.List(pl.String)
        verdicts = pl.DataFrame(gone, schema={"_line": pl.Int64, "_warnings": codes}, orient="row").with_columns(
            pl.lit([KEY_DUPLICATE], codes).alias("_errors"),
            pl.lit([f"{column}:{KEY_DUPLICATE}" for column in self.contract.key], codes).alias("_fields"),
        )
        add_verdicts(self.conn, verdicts)
        return sum(len(warnings) for _, warnings in gone), sum(row[0] for row in persons)

    def _count(self, query: str) -> int:
        row = self.conn.execute(query, self.slice.key()).fetchone()
        assert row is not None
        return int(row[0])


def _open_lines(conn: psycopg.Connection, slice_: Slice, selection: Selection) -> pl.Series:
    """The lines to judge again, ascending: as many as the slice has, so they come packed."""
    text = io.BytesIO()
    query = (
        "copy (select q.line from ops.quarantine q where q.feed = %(of_feed)s and q.branch_id = %(of_branch_id)s"  # noqa: S608 (a constant)
        " and q.business_date = %(of_business_date)s and q.revision = %(of_revision)s"
        f" and q.closed_at is null and {CHOSEN} order by q.line) to stdout"
    )
    this = {f"of_{name}": value for name, value in slice_.key().items()}
    with conn.cursor() as cursor, cursor.copy(query, selection.parameters() | this) as copy:
        for block in copy:
            text.write(block)
    if not text.tell():
        return pl.Series("_line", [], dtype=pl.Int64)
    text.seek(0)
    return pl.read_csv(text, has_header=False, schema={"_line": pl.Int64})["_line"]
