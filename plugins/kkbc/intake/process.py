"""Intake: the landed bytes of one slice become rows, each accepted or quarantined, and are kept next to the bytes.

Rows are read, judged and written in parts, so that a slice of any length takes the memory of a few parts.
"""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from kkbc.core import tokens
from kkbc.core.errors import SliceRejected
from kkbc.core.spool import spool_folder
from kkbc.exchange.contracts import Contract
from kkbc.exchange.slices import Entry
from kkbc.intake.landing import Landed, Landing
from kkbc.intake.parts import Parts
from kkbc.intake.reading import Reading, read
from kkbc.intake.rewrites import Rewritten
from kkbc.intake.rewriting import Persons, rewrite
from kkbc.intake.rows import SliceRows
from kkbc.intake.validation import Context, Judged, RepeatedKeys, duplicate_lines, judge, key_columns

KEY_DUPLICATE = "KEY_DUPLICATE"

BATCH_ROWS = 20_000
"""Rows that are read, judged and written at a time: what a part of a slice holds at most."""


@dataclass(frozen=True)
class Intake:
    """The rows of a slice, and what the reader found out about its file.

    `rewritten` is set where persons on the suppression list were in it: it stands in landing without them.
    """

    rows: SliceRows
    format: str
    found: dict[str, Any]
    rewritten: Rewritten | None = None


def take_in(
    landed: Landed,
    entry: Entry,
    contract: Contract,
    context: Context,
    landing: Landing,
    key: bytes,
    *,
    batch_rows: int = BATCH_ROWS,
) -> Intake:
    """Reads and judges a landed slice; keeps accepted (typed) and quarantined rows next to it, see
    `kkbc.intake.landing`.

    A file in which persons on the suppression list of `context` stand is rewritten in landing without them, before any
    row is kept, and its rows are those of the file as it is then (Exchange rule 22).

    Every row sent is either accepted or quarantined, which is asserted. Rows carry the token made with `key`. Rows are
    kept when all of them are known to be taken, in one step: a rejected slice leaves nothing but its bytes.
    Raises SliceRejected CHECKSUM, UNREADABLE, HEADER or ROW_COUNT (Exchange rule 4).
    """
    if entry.sha256 is not None and (entry.sha256, entry.bytes) != (landed.sha256, landed.bytes):
        raise SliceRejected("CHECKSUM", "sha256 or bytes are not those of the manifest")
    taking = _Taking(entry, contract, context, key, batch_rows)
    rewritten = None
    with landing.workspace(landed) as workspace, spool_folder("erased") as folder:
        reading, parts = taking.judged(landed, workspace)
        if parts.suppressed:
            persons = Persons(frozenset(parts.suppressed))
            lines = rewrite(landed.readable, landed.name, contract, entry.rows, persons, folder / "made")
            old, landed = landed, landing.replace(landed, folder / "made", lines)
            rewritten = landing.journal(landed.uri).chain(landed.sha256, old.sha256)
            for path in workspace.iterdir():
                path.unlink()
            reading, parts = taking.judged(landed, workspace)
        only = parts.finish()
        landing.keep(landed, workspace)
    rows = SliceRows(
        [only.accepted] if only else landing.rows(landed.uri, "accepted"),
        [only.quarantined] if only else landing.rows(landed.uri, "quarantined"),
        parts.counts,
    )
    assert rows.sent == entry.rows, "rows sent = accepted + quarantined"
    drift = {"extra_columns": list(reading.extra_columns), "missing_columns": list(reading.missing_columns)}
    found = {**asdict(reading.dialect), **{name: columns for name, columns in drift.items() if columns}}
    return Intake(rows, reading.format, found, rewritten)


@dataclass(frozen=True)
class _Taking:
    """How one slice is read and judged."""

    entry: Entry
    contract: Contract
    context: Context
    key: bytes
    batch_rows: int

    def judged(self, landed: Landed, folder: Path) -> tuple[Reading, Parts]:
        """All rows of the file, as parts kept in `folder`. Raises SliceRejected UNREADABLE, HEADER or ROW_COUNT."""
        expected = self.entry.rows
        reading = read(landed.readable, landed.name, self.contract, expected_rows=expected, batch_rows=self.batch_rows)
        sent = 0

        def counted() -> Iterator[pl.DataFrame]:
            nonlocal sent
            for batch in reading.batches:
                sent += batch.height
                yield batch

        parts = judge_rows(_ahead(counted()), self.contract, self.context, self.key, folder)
        if sent != expected:
            raise SliceRejected("ROW_COUNT", f"the manifest says {expected} rows, the file holds {sent}")
        return reading, parts


def read_lines(
    landed: Landed, contract: Contract, expected_rows: int, lines: Collection[int]
) -> Iterator[pl.DataFrame]:
    """Some rows of a landed file once more, as `kkbc.intake.reading` gives them: those that start on `lines`.

    `expected_rows` is what the manifest announced. Frames without any such row are left out.
    Raises SliceRejected as reading does; not for bytes that were taken in before.
    """
    wanted = pl.Series("_line", sorted(lines), dtype=pl.Int64).implode()
    last = max(lines, default=0)
    for batch in read(landed.readable, landed.name, contract, expected_rows=expected_rows).batches:
        found = batch.filter(pl.col("_line").is_in(wanted))
        if found.height:
            yield found
        if batch.height and batch["_line"][-1] >= last:
            return


def judge_rows(
    batches: Iterable[pl.DataFrame], contract: Contract, context: Context, key: bytes, folder: Path
) -> Parts:
    """Judges batches of rows of one slice, one part each, kept in `folder`; accepted rows carry their token.

    Of the rows that have no other error and the same key, one is accepted (Exchange rule 3).
    """
    parts, keys = Parts(folder, contract.contacts), RepeatedKeys(contract)
    for batch in batches:
        part = judge_batch(batch, contract, context, key)
        parts.append(part)
        keys.add(part.accepted)
    if len(parts) > 1:
        columns = key_columns(contract)
        for number, lines in keys.losers(lambda number: parts.accepted(number, columns)).items():
            parts.replace(number, set_aside(parts.read(number), lines, contract))
    return parts


def _ahead(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same batches, of which the next is read in a thread while one is at work.

    Reading holds the interpreter and judging does not. The first two come at once: a short slice needs no thread.
    """
    first, second = next(batches, None), next(batches, None)
    if first is not None:
        yield first
    if second is None:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="kkbc-read") as executor:
        coming = executor.submit(next, batches, None)
        yield second
        while (batch := coming.result()) is not None:
            coming = executor.submit(next, batches, None)
            yield batch


def judge_batch(batch: pl.DataFrame, contract: Contract, context: Context, key: bytes) -> Judged:
    """Every row of a batch, keys that come twice in it set apart, the others with their token."""
    part = judge(batch, contract, context)
    part = set_aside(part, duplicate_lines(part.accepted, contract), contract)
    if contract.nik is not None:
        part = replace(part, accepted=part.accepted.hstack([tokens.tokens(part.accepted[contract.nik], key)]))
    return part


def set_aside(part: Judged, lines: pl.Series, contract: Contract) -> Judged:
    """Moves accepted rows that lose their key to the quarantine (Exchange rule 3)."""
    if lines.is_empty():
        return part
    losers = pl.col("_line").is_in(lines.implode())
    moved = part.accepted.filter(losers).select(
        "_line",
        "_raw",
        pl.lit([KEY_DUPLICATE], dtype=pl.List(pl.String)).alias("_errors"),
        "_warnings",
        pl.lit([f"{column}:{KEY_DUPLICATE}" for column in contract.key], dtype=pl.List(pl.String)).alias("_fields"),
    )
    quarantined = pl.concat([part.quarantined, moved.select(part.quarantined.columns)]).sort("_line")
    return replace(part, accepted=part.accepted.filter(~losers), quarantined=quarantined)
