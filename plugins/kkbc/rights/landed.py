"""A person in landing: the rows of every revision that name the NIK, wherever a branch typed it."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from kkbc.core.errors import NotLanded, SliceRejected
from kkbc.core.needles import blocks
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import Contract, feeds, load_contract
from kkbc.exchange.slices import Slice
from kkbc.intake.landing import Landed, Landing
from kkbc.intake.process import BATCH_ROWS
from kkbc.intake.reading import read

_SEPARATORS = r"[\s.'-]?"
_FOLDER = re.compile(r"(?P<branch>[^/]+)/(?P<day>\d{4}-\d\d-\d\d)/(?P<feed>[^/]+)/r(?P<revision>\d+)-[0-9a-f]+$")
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")


@dataclass(frozen=True)
class LandedRow:
    """A row of a landed file that names the person. kind: accepted, quarantined, or sent: not judged, or not any more.

    values: the cells of the contract, typed in an accepted row, as sent in others. text: the row as sent, where that is
    kept. line is None for a file that cannot be read, of which `text` is None.
    """

    kind: str
    line: int | None
    values: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LandedFile:
    """A landed revision in which the person is named. `name` and `sha256` are those of the file as delivered."""

    uri: str
    slice: Slice
    name: str
    sha256: str
    rows: list[LandedRow]


def search(nik: str, in_force: dict[str, int]) -> Iterator[LandedFile]:
    """The landed files that name the person, oldest day first.

    in_force: the rows quarantined of each revision in force, by its landing URI. Their accepted rows are in raw and
    vault and are left out here, and files of which none was quarantined are not opened.
    """
    pattern = _SEPARATORS.join(nik)
    landing = Landing(get_settings().landing)
    for uri in sorted(landing.uris(), key=lambda uri: uri.split("/")[-3:]):
        place = _FOLDER.search(uri)
        if place is None or place["feed"] not in feeds() or in_force.get(uri) == 0:
            continue
        with suppress(NotLanded), landing.open(uri) as landed:
            contract = load_contract(place["feed"])
            rows = list(_rows(landing, landed, contract, pattern, accepted=uri not in in_force))
            if rows:
                day = pl.Series([place["day"]]).str.to_date()[0]
                slice_ = Slice(place["feed"], place["branch"], day, int(place["revision"]))
                yield LandedFile(uri, slice_, landed.name, landed.sha256, rows)


def _rows(landing: Landing, landed: Landed, contract: Contract, pattern: str, *, accepted: bool) -> Iterator[LandedRow]:
    kept = {kind: landing.rows(landed.uri, kind) for kind in ("accepted", "quarantined")}
    if not all(frames.paths for frames in kept.values()):
        # Rejected as a whole, or its rows are past their time.
        yield from _read_again(landed, contract, pattern)
        return
    quarantined: dict[int, LandedRow] = {}
    for kind in ("accepted", "quarantined") if accepted else ("quarantined",):
        for frame in kept[kind]:
            for row in _matching(frame, pattern):
                found = _row(kind, row, contract)
                if kind == "accepted":
                    yield found
                else:
                    assert found.line is not None
                    quarantined[found.line] = found
    yield from quarantined.values()


def _read_again(landed: Landed, contract: Contract, pattern: str) -> Iterator[LandedRow]:
    try:
        for batch in read(landed.readable, landed.name, contract, expected_rows=0, batch_rows=BATCH_ROWS).batches:
            for row in _matching(batch, pattern):
                yield _row("sent", row, contract)
    except SliceRejected:
        if any(re.search(pattern, text) for text in _texts(landed.readable)):
            yield LandedRow("sent", None)


def _matching(frame: pl.DataFrame, pattern: str) -> Iterator[dict[str, Any]]:
    named = pl.any_horizontal(pl.col(pl.String).str.contains(pattern).fill_null(False))
    yield from frame.filter(named).iter_rows(named=True)


def _row(kind: str, row: dict[str, Any], contract: Contract) -> LandedRow:
    return LandedRow(
        kind,
        row["_line"],
        {column.name: row[column.name] for column in contract.columns if row.get(column.name) is not None},
        row.get("_raw"),
        tuple(row.get("_errors") or ()),
        tuple(row.get("_warnings") or ()),
    )


def _texts(path: Path) -> Iterator[str]:
    """What a file that no reader takes may hold, also where it is packed, as text in the likely encodings."""
    for block in blocks(path):
        for encoding in _ENCODINGS:
            for first in (0, 1):  # characters of two bytes may begin at either
                yield block[first:].decode(encoding, errors="replace")
