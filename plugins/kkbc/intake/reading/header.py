"""The header: names as branches spell them, and where each column of the contract stands."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import Contract
from kkbc.intake.reading.blanks import INVISIBLE

MAX_TITLES = 5
"""Lines that may stand above the header, blank ones not counted (Exchange rule 20)."""

MAX_COLUMNS = 2000
"""A row of more names is no header, whatever it holds (Exchange rule 37)."""

MAX_EXTRA = 100
MAX_NAME = 200
"""Drift is reported up to so many columns and characters of a name; names without end are not worth more."""

_INVISIBLE = re.compile(f"[{INVISIBLE}]+")
_SEPARATORS = re.compile(r"[\s._\-]+")

Place = TypeVar("Place")


@dataclass(frozen=True)
class Header:
    """A row of names that holds all required columns. `positions` follows the columns of the contract."""

    names: tuple[str, ...]
    positions: tuple[int | None, ...]
    extra: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many cells a row has."""
        return len(self.names)


def normalise(name: str) -> str:
    """`name` in lower case, spaces, dots, hyphens and underscores as one underscore, none at the ends.

    Characters that nobody sees are taken out (Exchange rule 28).
    """
    return _SEPARATORS.sub("_", _INVISIBLE.sub("", name)).strip("_").lower()


def search(candidates: Iterable[tuple[Place, Sequence[str]]], contract: Contract) -> tuple[Place, Header]:
    """The first of the rows in `candidates` that holds every required column, with its place.

    Raises SliceRejected HEADER when there is none, or when a known column comes twice in it. A row of more than
    MAX_COLUMNS names is passed over.
    """
    required = [column.wire for column in contract.columns if column.required]
    nearest = required
    for place, cells in candidates:
        if len(cells) > MAX_COLUMNS:
            continue
        names = [normalise(cell) for cell in cells]
        lacking = [wire for wire in required if normalise(wire) not in names]
        if not lacking:
            return place, _header(cells, names, contract)
        nearest = min(nearest, lacking, key=len)
    if len(nearest) == len(required):
        raise SliceRejected("HEADER", "no line at the top looks like a header of this feed")
    raise SliceRejected("HEADER", f"required columns are missing: {', '.join(nearest)}")


def _header(cells: Sequence[str], names: list[str], contract: Contract) -> Header:
    known = {normalise(column.wire): column.wire for column in contract.columns}
    for name, wire in known.items():
        if names.count(name) > 1:
            raise SliceRejected("HEADER", f"column {wire} comes twice")
    extra = [cell.strip() for cell, name in zip(cells, names, strict=True) if name and name not in known]
    return Header(
        names=tuple(cells),
        positions=tuple(names.index(name) if name in names else None for name in known),
        extra=tuple(name[:MAX_NAME] for name in extra[:MAX_EXTRA]),
        missing=tuple(wire for name, wire in known.items() if name not in names),
    )
