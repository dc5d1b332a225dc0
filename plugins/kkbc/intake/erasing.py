"""Erasing: a landed file is rewritten without persons, and the rows kept next to it with it (Exchange rule 22).

What is in landing stays a chain that proves itself: the file as sent, by the hash that the record of the slice has; the
hashes from one rewriting to the next (`kkbc.intake.rewrites`); and rows that are those that judging the file gives. All
of it can be killed at any moment and done again. Nobody else may be at work on the slice meanwhile.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import polars as pl

from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.needles import blocks
from kkbc.core.spool import spool_folder
from kkbc.core.suppression import Suppression
from kkbc.core.tokens import Key
from kkbc.exchange.contracts import Contract
from kkbc.exchange.nik import DIGITS
from kkbc.exchange.slices import ERASED, Entry
from kkbc.intake.landing import Landed, Landing, checksum
from kkbc.intake.parts import Parts
from kkbc.intake.process import KEY_DUPLICATE, judge_batch, read_lines, take_in
from kkbc.intake.rewrites import Rewritten
from kkbc.intake.rewriting import Persons, holds_any, rewrite
from kkbc.intake.validation import Context, Judged, duplicate_lines, key_columns

__all__ = ["Persons", "Taken", "erase_from", "numbers_in", "withhold"]

_DIGITS = re.compile(DIGITS.encode())


@dataclass(frozen=True)
class Taken:
    """How a slice was taken in: by what it is read and judged, and the number of rows that its manifest says."""

    contract: Contract
    context: Context
    key: Key
    rows: int


def erase_from(
    landing: Landing, uri: str, name: str | None, persons: Persons, taken: Taken | None, recorded: str | None = None
) -> Rewritten | None:
    """Takes the persons out of the file landed in the folder `uri`, and out of the rows that are kept next to it.

    Rows of theirs become tombstones. `taken` is None for a slice that was rejected: its file, as any that cannot be
    read as rows, becomes an empty one if it holds anything of them. `recorded` is the SHA-256 that the record says the
    file has: what an attempt did that was killed before it could be recorded is returned too.
    Returns None where nothing was to be done. Raises UserError when landing does not hold the file, and when a file
    that was taken in can be read no more.
    """
    landing.recover(uri)
    with landing.open(uri, name) as landed, spool_folder("erased") as folder:
        before = landed.sha256
        if holds_any(landed.readable, landed.name, persons):
            landed = _rewritten(landing, landed, persons, taken, folder / "made")
        done = landing.journal(uri).chain(landed.sha256)
        if done is not None and done.lines and taken is not None:
            if _is_torn(landing, landed, taken):
                entry = Entry(taken.contract.feed, taken.rows, landed.name, landed.bytes, landed.sha256)
                take_in(landed, entry, taken.contract, taken.context, landing, taken.key)
            else:
                _align(landing, landed, taken, done)
    journal = landing.journal(uri)
    return journal.chain(landed.sha256, recorded or before) or journal.chain(landed.sha256, before)


def withhold(landing: Landing, landed: Landed, suppression: Suppression) -> Rewritten | None:
    """Empties the landed file of a slice that was rejected, if the NIK of a person on the suppression list is in it.

    Its rows are not known, so that nothing less takes the person out. Returns None where nobody on the list is in it.
    """
    if not suppression or not any(suppression.suppressed(niks).any() for niks in numbers_in(landed.readable)):
        return None
    with spool_folder("erased") as folder:
        return _emptied(landing, landed, folder / "made")


def numbers_in(path: Path) -> Iterator[pl.Series]:
    """All that looks like a NIK in a file, and in what it holds where it is packed."""
    for block in blocks(path):
        found = {digits.decode() for digits in _DIGITS.findall(block.translate(None, b"\0"))}
        yield pl.Series(sorted(found), dtype=pl.String)


def _rewritten(landing: Landing, landed: Landed, persons: Persons, taken: Taken | None, made: Path) -> Landed:
    """The landed file as it is after the persons went: the same where nothing of them was in it after all."""
    if taken is None:
        _emptied(landing, landed, made)
        return replace(landed, sha256=landing.journal(landed.uri).entries[-1].new_sha256)
    try:
        lines = rewrite(landed.readable, landed.name, taken.contract, taken.rows, persons, made)
    except SliceRejected as rejected:
        raise UserError(
            f"the file in landing folder {landed.uri} cannot be rewritten: {rejected}",
            "remove the slice by a revision of the branch's, or restore landing from its backup",
        ) from None
    return landed if checksum(made)[0] == landed.sha256 else landing.replace(landed, made, lines)


def _emptied(landing: Landing, landed: Landed, made: Path) -> Rewritten | None:
    made.touch()
    gone = landing.replace(landed, made, emptied=True)
    return landing.journal(landed.uri).chain(gone.sha256, landed.sha256)


def _is_torn(landing: Landing, landed: Landed, taken: Taken) -> bool:
    """Whether an attempt was cut off that put the rows of a slice into a store that takes them file by file."""
    kinds = [landing.rows(landed.uri, kind) for kind in ("accepted", "quarantined")]
    if landing.is_local or not all(frames.paths for frames in kinds):
        return False
    return sum(frame.height for frames in kinds for frame in frames) != taken.rows


def _align(landing: Landing, landed: Landed, taken: Taken, done: Rewritten) -> None:
    """Makes the rows kept next to the file those that judging it gives, where tombstones stand for rows by now.

    Accepted and quarantined rows of theirs are quarantined as ERASED. A row that had lost its key to one of them is
    accepted when nobody else has that key (Exchange rule 3). Other rows stay as they were judged.
    """
    lines = pl.Series("_line", done.lines, dtype=pl.Int64).implode()
    accepted, quarantined = landing.rows(landed.uri, "accepted"), landing.rows(landed.uri, "quarantined")
    of_them = pl.col("_line").is_in(lines)
    gone = sum(frame.filter(of_them).height for frame in accepted)
    left = sum(frame.filter(of_them & (pl.col("_errors") != [ERASED])).height for frame in quarantined)
    if not gone and not left:
        return
    losers = [f.filter(~of_them & pl.col("_errors").list.contains(KEY_DUPLICATE))["_line"] for f in quarantined if gone]
    fresh = _judged_again(landed, taken, [*done.lines, *(line for found in losers for line in found)])
    tombstones = [part.quarantined.filter(of_them) for part in fresh]
    freed = _freed([part.accepted.filter(~of_them) for part in fresh], accepted, of_them, taken.contract)
    landing.note(replace(_last(landing, landed), freed=tuple(sorted(line for f in freed for line in f["_line"]))))
    with landing.workspace(landed) as workspace:
        parts = Parts(workspace, ())
        for kept, refused in zip_longest(accepted, quarantined):
            parts.append(_part(kept, refused, tombstones, freed))
        parts.finish()
        if not quarantined.paths:  # maintenance has taken them away
            for path in workspace.glob("quarantined-*"):
                path.unlink()
        landing.keep(landed, workspace)


def _part(
    kept: pl.DataFrame | None, refused: pl.DataFrame | None, tombstones: list[pl.DataFrame], freed: list[pl.DataFrame]
) -> Judged:
    """One part of the rows: those that changed take the place that they had."""
    if refused is None and kept is not None:
        refused = tombstones[0].clear()
    if kept is None or refused is None:
        raise UserError("the rows kept next to a landed file are not whole", "read the slice again: `kkbc backfill`")
    there = pl.concat([kept["_line"], refused["_line"]]).implode()
    erased = [frame.filter(pl.col("_line").is_in(there)) for frame in tombstones]
    passed = [frame.filter(pl.col("_line").is_in(there)) for frame in freed]
    changed = pl.concat([frame["_line"] for frame in (*erased, *passed)] or [kept["_line"].clear()]).implode()
    stays = ~pl.col("_line").is_in(changed)
    return Judged(
        pl.concat([kept.filter(stays), *(f.select(kept.columns) for f in passed if f.height)]).sort("_line"),
        pl.concat([refused.filter(stays), *(f.select(refused.columns) for f in erased)]).sort("_line"),
        None,
    )


def _judged_again(landed: Landed, taken: Taken, lines: list[int]) -> list[Judged]:
    """Some rows of the file as it is now, judged."""
    batches = read_lines(landed, taken.contract, taken.rows, lines)
    return [judge_batch(batch, taken.contract, taken.context, taken.key) for batch in batches]


def _freed(
    passing: list[pl.DataFrame], accepted: Iterable[pl.DataFrame], of_them: pl.Expr, contract: Contract
) -> list[pl.DataFrame]:
    """Of rows that had lost their key, and would pass but for that, those that have it now."""
    if not any(frame.height for frame in passing):
        return []
    keys = pl.concat([frame.select(key_columns(contract)) for frame in passing])
    for frame in accepted:
        keys = keys.join(frame.filter(~of_them), on=contract.key, how="anti", nulls_equal=True)
    having = ~pl.col("_line").is_in(duplicate_lines(keys, contract).implode())
    lines = keys.filter(having)["_line"].implode()
    return [frame.filter(pl.col("_line").is_in(lines)) for frame in passing]


def _last(landing: Landing, landed: Landed) -> Rewritten:
    """The rewriting that led to the file as it is."""
    return next(e for e in reversed(landing.journal(landed.uri).entries) if e.new_sha256 == landed.sha256)
