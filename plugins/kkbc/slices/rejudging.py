"""Rejudging: the landed bytes of a slice are read and judged once more, for a retry, a re-read and a hold alike.

Landing stands for the branch: nobody is visited. What judges are the contracts, code lists and registry of today.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl

from kkbc.core import tokens
from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.settings import get_settings
from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import Contract, load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Entry
from kkbc.intake.landing import Landed, Landing
from kkbc.intake.parts import Parts
from kkbc.intake.process import BATCH_ROWS, Intake, judge_rows, take_in
from kkbc.intake.reading import read
from kkbc.intake.validation import Context
from kkbc.slices.record import SliceRecord


class Rejudge:
    """Judges slices again, one after the other; rows of persons on the list `suppression` are quarantined as ERASED.

    Raises UserError when the key of the tokens cannot be had.

    Each call raises UserError when landing no longer holds the bytes that were loaded, and SliceRejected when today's
    reader refuses them.
    """

    def __init__(self, suppression: Suppression | None = None) -> None:
        self._suppression = suppression or Suppression()
        self._landing = Landing(get_settings().landing)
        self._key = tokens.load_key()
        self._branch_ids = frozenset(office.branch_id for office in load_registry().offices)

    def whole(self, record: SliceRecord) -> Intake:
        """All rows of a slice; they take the place of those that are kept next to the landed bytes.

        `rewritten` of what is returned is also set when the landed file was rewritten before, and is not on record so.
        """
        with self._landed(record) as landed:
            entry = Entry(record.slice.feed, record.manifest_rows, landed.name, landed.bytes, landed.sha256)
            contract = load_contract(record.slice.feed)
            intake = take_in(landed, entry, contract, self._context(record), self._landing, self._key)
            sha256 = intake.rewritten.new_sha256 if intake.rewritten else landed.sha256
            unrecorded = self._landing.journal(landed.uri).chain(sha256, record.landed_sha256)
            return replace(intake, rewritten=unrecorded)

    def lines(self, record: SliceRecord, lines: pl.Series, folder: Path) -> Parts:
        """The rows that start on `lines` (ascending), as parts kept in `folder`."""
        contract = load_contract(record.slice.feed)
        with self._landed(record) as landed:
            rows = _rows_on(landed, contract, record.manifest_rows, lines)
            return judge_rows(rows, contract, self._context(record), self._key, folder)

    @contextmanager
    def _landed(self, record: SliceRecord) -> Iterator[Landed]:
        if record.landed_uri is None:
            raise UserError(f"{record.slice} was not landed", "ask the branch for a revision")
        with self._landing.open(record.landed_uri, record.file_name) as landed:
            # A rewriting may have been killed before it could be recorded: the journal next to the file has it.
            is_known = landed.sha256 == record.landed_sha256
            if not is_known and not self._landing.journal(landed.uri).chain(landed.sha256, record.landed_sha256):
                raise UserError(
                    f"the landed file of {record.slice} is not the one that was loaded",
                    "restore landing from its backup",
                )
            yield landed

    def _context(self, record: SliceRecord) -> Context:
        zone = load_registry().get(record.slice.branch_id).zone
        return Context(record.slice, zone, record.sent_at, self._branch_ids, record.manifest_seen_at, self._suppression)


def _rows_on(landed: Landed, contract: Contract, sent: int, lines: pl.Series) -> Iterator[pl.DataFrame]:
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
