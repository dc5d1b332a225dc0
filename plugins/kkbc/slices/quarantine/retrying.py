"""Retry: quarantined rows of the slices in force are judged anew; those that pass are loaded into their slice.

They are judged by the rules, code lists and registry of today, from the landed bytes. Rows that were accepted before
stay as they are, unless one that passes now has their key and is later (Exchange rule 3).
"""

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core import tokens
from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from kkbc.exchange import masking
from kkbc.exchange.contracts import Contract, feeds, load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Slice
from kkbc.intake.landing import Landed, Landing
from kkbc.intake.parts import Parts
from kkbc.intake.process import BATCH_ROWS, KEY_DUPLICATE, judge_rows, set_aside
from kkbc.intake.reading import read
from kkbc.intake.validation import Context, check_contract, duplicate_lines, key_columns
from kkbc.slices.load import SliceRecord, as_array, copy_frame, copy_rows, lock_slice, next_load_id
from kkbc.slices.quarantine.selection import CHOSEN, Deed, Selection
from kkbc.warehouse.feeds import TYPES
from kkbc.warehouse.kept import check_key

ATTEMPTS = 5


@dataclass(frozen=True)
class Retried:
    """What came of the chosen rows of one slice.

    judged: rows judged anew; accepted: now loaded; changed: still quarantined, with other codes; beaten: rows that were
    accepted before and lost their key to one of these.
    """

    slice: Slice
    judged: int
    accepted: int
    changed: int
    beaten: int


@dataclass
class RetryReport:
    """What came of a retry; `failed` names the slices that could not be retried, with the reason."""

    slices: list[Retried] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Sums over all slices, and the slices where something changed, as JSON values."""
        names = ("judged", "accepted", "changed", "beaten")
        return {
            **{name: sum(getattr(done, name) for done in self.slices) for name in names},
            "slices": [
                {"slice": str(done.slice), **{name: getattr(done, name) for name in names}}
                for done in self.slices
                if done.accepted or done.changed
            ],
            "failed": self.failed,
        }


def retry(conn: psycopg.Connection, selection: Selection, deed: Deed, *, dry_run: bool = False) -> RetryReport:
    """Judges the chosen open rows of the slices in force anew, slice by slice.

    `conn` acts as role loader, in autocommit mode. Each slice is one transaction under the locks of a load, so that a
    build sees all of it or nothing, and retrying again changes nothing. The next build covers the slices that changed.
    With `dry_run` each transaction is rolled back. A slice whose landed file cannot be read again is left as it was and
    named in the report. Raises UserError for a broken contract or registry and for a missing or wrong key.
    """
    offices = frozenset(office.branch_id for office in load_registry().offices)
    for feed in feeds():
        check_contract(load_contract(feed), offices)
    with conn.transaction():
        check_key(conn)
    retrier = _Retrier(conn, selection, deed, dry_run, offices)
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
        self, conn: psycopg.Connection, selection: Selection, deed: Deed, dry_run: bool, branch_ids: frozenset[str]
    ) -> None:
        self.conn = conn
        self.selection = selection
        self.deed = deed
        self.dry_run = dry_run
        self.branch_ids = branch_ids
        self.landing = Landing(get_settings().landing)
        self.key = tokens.load_key()

    def retry(self, slice_: Slice) -> Retried:
        """Retries one slice. The file is read and judged before the transaction, which is thus a short one."""
        for _ in range(ATTEMPTS):
            record = _record(self.conn, slice_)
            lines = _open_lines(self.conn, slice_, self.selection)
            if record is None or lines.is_empty():
                return Retried(slice_, 0, 0, 0, 0)
            with spool_folder("retry") as folder, suppress(_SliceMoved):
                parts = self._judge(record, lines, folder)
                with self.conn.transaction():
                    done = _Transaction(self.conn, record, load_contract(slice_.feed), parts, self.deed).run()
                    if self.dry_run:
                        raise psycopg.Rollback
                return done
        raise UserError(f"{slice_} is being worked on by others", "try again in a while")

    def _judge(self, record: SliceRecord, lines: pl.Series, folder: Path) -> Parts:
        slice_ = record.slice
        contract = load_contract(slice_.feed)
        zone = load_registry().get(slice_.branch_id).zone
        context = Context(slice_, zone, record.sent_at, self.branch_ids, seen_at=record.manifest_seen_at)
        assert record.landed_uri is not None
        with self.landing.open(record.landed_uri, record.file_name) as landed:
            if landed.sha256 != record.sha256:
                raise UserError(
                    f"the landed file of {slice_} is not the one that was loaded", "restore landing from its backup"
                )
            rows = _rows_anew(landed, contract, record.manifest_rows, lines)
            return judge_rows(rows, contract, context, self.key, folder)


def _rows_anew(landed: Landed, contract: Contract, sent: int, lines: pl.Series) -> Iterator[pl.DataFrame]:
    """The rows that start on `lines` (ascending), in batches. The file is read to its end, to see that all is there.

    Raises SliceRejected as reading does, ROW_COUNT when today's reader finds other rows than those that were loaded.
    """
    found = chosen = 0
    reading = read(landed.readable, landed.name, contract, expected_rows=sent, batch_rows=BATCH_ROWS)
    for batch in reading.batches:
        if not batch.height:
            continue
        found += batch.height
        first, last = batch["_line"].min(), batch["_line"].max()
        wanted = lines.filter(lines.is_between(first, last)).implode()
        rows = batch.filter(pl.col("_line").is_in(wanted))
        chosen += rows.height
        if rows.height:
            yield rows
    if (found, chosen) != (sent, len(lines)):
        raise SliceRejected(
            "ROW_COUNT", f"{sent} rows were loaded, today the file is read as {found}: ask the branch for a revision"
        )


# The verdicts of a slice lie in a temporary table with the address of ops.quarantine.
_LOCK_OPEN = """
select count(*) from (
    select from ops.quarantine q join pg_temp.verdict v using (feed, branch_id, business_date, revision, line)
    where q.closed_at is null
    for update of q
) as still_open
"""

_CHANGED = """
select count(*)
from ops.quarantine q join pg_temp.verdict v using (feed, branch_id, business_date, revision, line)
where v.errors <> '{}' and (q.errors, q.warnings, q.fields) is distinct from (v.errors, v.warnings, v.fields)
"""

# As kkbc.intake.validation counts: the NIK itself earned an error, or nobody could tell what is the NIK.
_NIK_REFUSED = """
select count(*)
from ops.quarantine q join pg_temp.verdict v using (feed, branch_id, business_date, revision, line)
where 'ROW_SHAPE' = any(q.errors)
    or exists (select from unnest(q.fields) as f where f like 'nik:%%' and substr(f, 5) = any(q.errors))
"""

_NOTE = """
insert into ops.quarantine_event (feed, branch_id, business_date, revision, line, event,
    errors_before, errors_after, fields_before, fields_after, why, done_by, load_id, run_id)
select feed, branch_id, business_date, revision, line,
    case when v.errors = '{}' then 'accepted' else 'judged_anew' end,
    q.errors, v.errors, q.fields, v.fields, %(why)s, %(done_by)s,
    case when v.errors = '{}' then %(load_id)s::bigint end, %(run_id)s
from ops.quarantine q join pg_temp.verdict v using (feed, branch_id, business_date, revision, line)
where (q.errors, q.warnings, q.fields) is distinct from (v.errors, v.warnings, v.fields)
order by line
"""

_CLOSE = """
update ops.quarantine q set closed_at = now(), closed_as = 'accepted', closed_why = %(why)s
from pg_temp.verdict v
where (q.feed, q.branch_id, q.business_date, q.revision, q.line)
    = (v.feed, v.branch_id, v.business_date, v.revision, v.line) and v.errors = '{}'
"""

_CHANGE = """
update ops.quarantine q set errors = v.errors, warnings = v.warnings, fields = v.fields
from pg_temp.verdict v
where (q.feed, q.branch_id, q.business_date, q.revision, q.line)
    = (v.feed, v.branch_id, v.business_date, v.revision, v.line) and v.errors <> '{}'
    and (q.errors, q.warnings, q.fields) is distinct from (v.errors, v.warnings, v.fields)
"""

_BEATEN = """
with kept as (
    insert into ops.quarantine as q (feed, branch_id, business_date, revision, line, errors, warnings, fields, load_id)
    select %(feed)s, %(branch_id)s, %(business_date)s, %(revision)s, line, %(errors)s, warnings, %(fields)s, %(load_id)s
    from unnest(%(lines)s::bigint[], %(warnings)s::text[]) as gone(line, joined)
    cross join lateral (select string_to_array(joined, ',') as warnings) as split
    on conflict (feed, branch_id, business_date, revision, line) do update
    set errors = excluded.errors, warnings = excluded.warnings, fields = excluded.fields,
        closed_at = null, closed_as = null, closed_why = null
    returning q.line
)
insert into ops.quarantine_event (feed, branch_id, business_date, revision, line, event,
    errors_before, errors_after, fields_before, fields_after, why, done_by, load_id, run_id)
select %(feed)s, %(branch_id)s, %(business_date)s, %(revision)s, line, 'beaten',
    '{}', %(errors)s, '{}', %(fields)s, %(why)s, %(done_by)s, %(load_id)s, %(run_id)s
from kept order by line
"""

_COUNT = """
update ops.slice set
    rows_accepted = rows_accepted + %(accepted)s,
    rows_quarantined = rows_quarantined - %(accepted)s,
    warnings = warnings + %(warned)s,
    rows_nik_valid = rows_nik_valid + %(nik_valid)s,
    rows_contactable = rows_contactable + %(contactable)s,
    retry_load_ids = retry_load_ids || %(load_ids)s::bigint[],
    build_id = null
where feed = %(feed)s and branch_id = %(branch_id)s and business_date = %(business_date)s and revision = %(revision)s
"""


class _Transaction:
    """Brings the new verdicts over one slice into the warehouse. Everything here is one transaction."""

    def __init__(
        self, conn: psycopg.Connection, record: SliceRecord, contract: Contract, parts: Parts, deed: Deed
    ) -> None:
        self.conn = conn
        self.record = record
        self.contract = contract
        self.parts = parts
        slice_ = record.slice
        self.values: dict[str, Any] = {
            "feed": slice_.feed,
            "branch_id": slice_.branch_id,
            "business_date": slice_.business_date,
            "revision": slice_.revision,
            "why": deed.why,
            "done_by": deed.done_by,
            "run_id": deed.run_id,
            "load_id": None,
        }

    def run(self) -> Retried:
        """Raises _SliceMoved when slice or rows are no longer those that were judged."""
        if lock_slice(self.conn, self.record.slice) != self.record.slice.revision:
            raise _SliceMoved
        beaten = self._settle_keys()
        judged = self._note_verdicts()
        counts = self.parts.counts
        changed = self._value(_CHANGED)
        if counts.accepted or changed:
            nik_refused = self._value(_NIK_REFUSED)
            if counts.accepted:
                self.values["load_id"] = next_load_id(self.conn)
            gone_warnings, gone_contactable = self._take_out(beaten)
            accepted = (self.parts.read(number).accepted for number in range(len(self.parts)))
            copy_rows(self.conn, self.contract, self.record, accepted, self.values["load_id"])
            for statement in (_NOTE, _CLOSE, _CHANGE):
                self.conn.execute(statement, self.values)
            self.conn.execute(
                _COUNT,
                self.values
                | {
                    "accepted": counts.accepted - len(beaten),
                    "warned": counts.warnings - gone_warnings,
                    "nik_valid": (counts.nik_valid or 0) - (judged - nik_refused),
                    "contactable": (counts.contactable or 0) - gone_contactable,
                    "load_ids": [self.values["load_id"]] if counts.accepted else [],
                },
            )
        self.conn.execute("drop table pg_temp.verdict")
        return Retried(self.record.slice, judged, counts.accepted, changed, len(beaten))

    def _settle_keys(self) -> list[int]:
        """Judges KEY_DUPLICATE over accepted rows and those that pass now; returns the accepted lines that lose."""
        beaten: list[int] = []
        columns = key_columns(self.contract)
        for number in range(len(self.parts)):
            passing = masking.Marker(self.contract)(self.parts.accepted(number, columns))
            clashing = self._accepted_with_keys_of(passing)
            if clashing.is_empty():
                continue
            losers = duplicate_lines(pl.concat([passing, clashing]), self.contract)
            accepted_before = losers.is_in(clashing["_line"].implode())
            beaten += losers.filter(accepted_before).to_list()
            self.parts.replace(
                number, set_aside(self.parts.read(number), losers.filter(~accepted_before), self.contract)
            )
        return beaten

    def _accepted_with_keys_of(self, passing: pl.DataFrame) -> pl.DataFrame:
        """The key columns of the slice's accepted rows that share a key with one of `passing`, both as raw has them."""
        if passing.is_empty():
            return passing
        arrays = [
            sql.SQL("%s::{}[]").format(sql.SQL(TYPES[self.contract.column(name).type])) for name in self.contract.key
        ]
        rows = self.conn.execute(
            sql.SQL(
                "select {} from raw.{} where _branch_id = %s and _business_date = %s"
                " and ({}) in (select * from unnest({}))"
            ).format(
                sql.SQL(", ").join(map(sql.Identifier, passing.columns)),
                sql.Identifier(self.contract.table),
                sql.SQL(", ").join(map(sql.Identifier, self.contract.key)),
                sql.SQL(", ").join(arrays),
            ),
            [
                self.record.slice.branch_id,
                self.record.slice.business_date,
                *(passing[name].to_list() for name in self.contract.key),
            ],
        ).fetchall()
        return pl.DataFrame(rows, schema=passing.schema, orient="row")

    def _note_verdicts(self) -> int:
        """Puts the verdicts into a temporary table; returns their number. Persons and resolves wait from here on."""
        slice_ = self.record.slice
        self.conn.execute(
            sql.SQL(
                "create temporary table verdict (feed text default {}, branch_id text default {},"
                " business_date date default {}, revision integer default {}, line bigint primary key,"
                " errors text[] not null, warnings text[] not null, fields text[] not null)"
            ).format(slice_.feed, slice_.branch_id, slice_.business_date, slice_.revision)
        )
        none = pl.lit([], pl.List(pl.String))
        for number in range(len(self.parts)):
            part = self.parts.read(number)
            passed = part.accepted.select("_line", *(none.alias(name) for name in ("_errors", "_warnings", "_fields")))
            verdicts = pl.concat([passed, part.quarantined.select(passed.columns)])
            codes = [as_array(name).alias(name[1:]) for name in ("_errors", "_warnings", "_fields")]
            copy_frame(self.conn, ("pg_temp", "verdict"), verdicts.select(pl.col("_line").alias("line"), *codes))
        self.conn.execute("analyze pg_temp.verdict")
        judged = self.parts.counts.accepted + self.parts.counts.quarantined
        if self._value(_LOCK_OPEN) != judged:
            raise _SliceMoved
        return judged

    def _take_out(self, beaten: list[int]) -> tuple[int, int]:
        """Moves accepted rows to the quarantine; returns how many warnings and reachable persons went with them."""
        if not beaten:
            return 0, 0
        gone = self._delete("raw", beaten, sql.SQL("_line, array_to_string(_warnings, ',')"))
        contacts = self.contract.contacts
        reachable = sql.SQL(" or ").join(sql.SQL("{} is not null").format(sql.Identifier(name)) for name in contacts)
        persons = (
            self._delete("vault", beaten, reachable if contacts else sql.SQL("false"))
            if self.contract.has_persons
            else []
        )
        self.conn.execute(
            _BEATEN,
            self.values
            | {
                "lines": [line for line, _ in gone],
                "warnings": [warnings for _, warnings in gone],
                "errors": [KEY_DUPLICATE],
                "fields": [f"{column}:{KEY_DUPLICATE}" for column in self.contract.key],
            },
        )
        return sum(len(warnings.split(",")) for _, warnings in gone if warnings), sum(row[0] for row in persons)

    def _delete(self, schema: str, lines: list[int], returning: sql.Composable) -> list[Any]:
        return self.conn.execute(
            sql.SQL(
                "delete from {} where _branch_id = %s and _business_date = %s and _line = any(%s) returning {}"
            ).format(sql.Identifier(schema, self.contract.table), returning),
            [self.record.slice.branch_id, self.record.slice.business_date, lines],
        ).fetchall()

    def _value(self, query: str) -> int:
        row = self.conn.execute(query, self.values).fetchone()
        assert row is not None
        return int(row[0])


def _record(conn: psycopg.Connection, slice_: Slice) -> SliceRecord | None:
    """What is on record of a slice in force; None when it is not in force any more."""
    row = conn.execute(
        "select run_id, manifest_sha256, rows_sent, sent_at, file_name, file_format, bytes, sha256, landed_uri,"
        " manifest_seen_at"
        " from ops.slice where status = 'loaded'"
        " and feed = %s and branch_id = %s and business_date = %s and revision = %s",
        [slice_.feed, slice_.branch_id, slice_.business_date, slice_.revision],
    ).fetchone()
    return None if row is None else SliceRecord(slice_, *row)


def _open_lines(conn: psycopg.Connection, slice_: Slice, selection: Selection) -> pl.Series:
    """The lines to judge anew, ascending: as many as the slice has, so they come packed."""
    text = io.BytesIO()
    query = (
        "copy (select q.line from ops.quarantine q where q.feed = %(of_feed)s and q.branch_id = %(of_branch)s"  # noqa: S608 (a constant)
        " and q.business_date = %(of_day)s and q.revision = %(of_revision)s"
        f" and q.closed_at is null and {CHOSEN} order by q.line) to stdout"
    )
    place = {
        "of_feed": slice_.feed,
        "of_branch": slice_.branch_id,
        "of_day": slice_.business_date,
        "of_revision": slice_.revision,
    }
    with conn.cursor() as cursor, cursor.copy(query, selection.parameters() | place) as copy:
        for block in copy:
            text.write(block)
    if not text.tell():
        return pl.Series("_line", [], dtype=pl.Int64)
    text.seek(0)
    return pl.read_csv(text, has_header=False, schema={"_line": pl.Int64})["_line"]
