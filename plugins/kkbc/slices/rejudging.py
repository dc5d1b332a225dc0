"""Rejudging: the landed bytes of a slice are read and judged once more, for a retry, a re-read and a hold alike.

Landing stands for the branch: nobody is visited. What judges are the contracts, code lists and registry of today.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from kkbc.core import tokens
from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.settings import get_settings
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
    """Judges slices again, one after the other. Raises UserError when the key of the tokens cannot be had.

    Each call raises UserError when landing no longer holds the bytes that were loaded, and SliceRejected when today's
    reader refuses them.
    """

    def __init__(self) -> None:
        self._landing = Landing(get_settings().landing)
        self._key = tokens.load_key()
        self._branch_ids = frozenset(office.branch_id for office in load_registry().offices)

    def whole(self, record: SliceRecord) -> Intake:
        """All rows of a slice; they take the place of those that are kept next to the landed bytes."""
        with self._landed(record) as landed:
            entry = Entry(record.slice.feed, record.manifest_rows, landed.name, landed.bytes, landed.sha256)
            contract = load_contract(record.slice.feed)
            return take_in(landed, entry, contract, self._context(record), self._landing, self._key)

    def lines(self, record: SliceRecord, lines: pl.Series, folder: Path) -> Parts:
        """The rows that start on `lines` (ascending), as parts kept in `folder`."""
        contract = load_contract(record.slice.feed)
        with self._landed(record) as landed:
            rows = _rows_on(landed, contract, record.manifest_rows, lines)
            return judge_rows(rows, contract, self._context(record), self._key, folder)

    @contextmanager
    def _landed(self, record: SliceRecord) -> Iterator[Landed]:
        if record.landed_uri is None:
            raise UserError(
                f"landing does not hold {record.slice}: it never came, or is past its time",
                "ask the branch for a revision",
            )
        with self._landing.open(record.landed_uri, record.file_name) as landed:
            if landed.sha256 != record.sha256:
                raise UserError(
                    f"the landed file of {record.slice} is not the one that was loaded",
                    "restore landing from its backup",
                )
            yield landed

    def _context(self, record: SliceRecord) -> Context:
        zone = load_registry().get(record.slice.branch_id).zone
        return Context(record.slice, zone, record.sent_at, self._branch_ids, seen_at=record.manifest_seen_at)


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
