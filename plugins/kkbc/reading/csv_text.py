"""Delimited text: the delimiter is the one under which a header shows itself.

Quotes keep to RFC 4180: a quoted cell ends at a quote that a delimiter or the line end follows. A quote that is never
closed, or closed in mid-cell, would swallow the lines after it; so it spoils the line it stands on and no other: that
line alone is ROW_SHAPE, and reading goes on with the next physical line.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from kkbc.contracts import Contract
from kkbc.reading.batches import Cells, Dialect, Reading, Row, frames
from kkbc.reading.header import MAX_TITLES, search
from kkbc.reading.text import MAX_LINE, Text

DELIMITERS = ";,\t|"

MAX_ROW_LINES = 1000
MAX_ROW_CHARS = 2**20
"""A row over more lines, or longer over several lines, has an unclosed quote. Bounds what one bad quote can cost."""

_WHITESPACE = "".join(character for character in map(chr, range(0x3001)) if character.isspace())

# The module's own limit on a cell is process-wide; lines are bounded already.
csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))


@dataclass(frozen=True)
class _Place:
    """Where a candidate for the header stands, and the rows that follow it."""

    delimiter: str
    line: int
    rest: Iterator[Row]


def read_csv(text: Text, file_format: str, contract: Contract, batch_rows: int) -> Reading:
    """Rows of delimited text. Raises SliceRejected HEADER at once when no delimiter gives a header."""
    place, header = search(_candidates(text), contract)
    return Reading(
        format=file_format,
        dialect=Dialect(
            encoding="utf-8-sig" if text.bom and text.encoding == "utf-8" else text.encoding,
            delimiter=place.delimiter,
            header_line=place.line,
        ),
        extra_columns=list(header.extra),
        missing_columns=list(header.missing),
        batches=frames(_fitting(place.rest, header.width), contract, batch_rows, header.positions),
    )


def _candidates(text: Text) -> Iterator[tuple[_Place, list[str]]]:
    for delimiter in DELIMITERS:
        rows = _rows(text.lines(), delimiter)
        for line, _, cells in islice(rows, MAX_TITLES + 1):
            yield _Place(delimiter, line, rows), [cell or "" for cell in cells or ()]


def _fitting(rows: Iterator[Row], width: int) -> Iterator[Row]:
    for line, raw, cells in rows:
        yield line, raw, cells if cells is not None and len(cells) == width else None


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[Row]:
    """Every row that is not blank (Exchange rule 14); cells are None when its quotes are broken."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    hollow = _WHITESPACE + delimiter + '"'
    line = 1
    while True:
        feed.taken.clear()
        cells: Cells | None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            feed.give_back_all_but_first()
            cells = None
        raw = "".join(feed.taken).rstrip("\r\n")
        if raw.strip(hollow) or cells is None or any(cell and cell.strip() for cell in cells):
            yield line, raw, cells
        line += len(feed.taken)


class _Feed:
    """Feeds lines to the csv reader, keeping those of the present row, so that they can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self._chars = 0
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        if self.taken:
            self._chars += len(line)
            if len(self.taken) > MAX_ROW_LINES or self._chars > MAX_ROW_CHARS:
                self._again.appendleft(line)
                raise csv.Error("a quoted cell without end")
        else:
            self._chars = len(line)
        self.taken.append(line)
        return line

    def give_back_all_but_first(self) -> None:
        """Put the lines after the first back, to be read again on their own."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
