"""Rows whose quotes need more than the csv module: blanks next to delimiters, quotes in the middle of a cell.

A quoted cell is one whose first character, blanks aside, is a quote; it ends at a quote that, blanks aside, a delimiter
or the line end follows (RFC 4180, and Exchange rule 36). A quote anywhere else is text, unless two of them could as
well hold a delimiter between them: such a row has two readings, and is given neither.
"""

import re
from collections.abc import Iterator
from enum import Enum

from kkbc.intake.reading.blanks import INVISIBLE
from kkbc.intake.reading.header import MAX_COLUMNS

ESCAPE = "\\"


class Inner(Enum):
    """How a quote is written inside a quoted cell.

    DOUBLED is the exchange's way. Where it makes no row, two others may, which then are the only ones: ESCAPED, with a
    backslash; BARE, as nothing but itself, when no delimiter or line end is next to it, so that it can end no cell.
    """

    DOUBLED = "doubled"
    ESCAPED = "escaped"
    BARE = "bare"


class Splitter:
    """Cuts the lines of one row into cells, for one delimiter and quotation mark."""

    def __init__(self, delimiter: str, quote: str = '"', inner: Inner = Inner.DOUBLED) -> None:
        self._delimiter, self._quote = delimiter, quote
        edge = re.escape(delimiter)
        # Atomic groups, for Python before 3.11.5 loses matches of a group that is repeated possessively (gh-106052).
        blanks = rf"(?>(?:(?!{edge})[^\S\r\n]|[{INVISIBLE}])*)"
        plain = rf"[^{quote}\\]*+" if inner is Inner.ESCAPED else f"[^{quote}]*+"
        meant = {
            Inner.DOUBLED: quote * 2,
            Inner.ESCAPED: rf"(?:{quote}{quote}|\\.)",
            Inner.BARE: rf"(?:{quote}{quote}|(?<!{edge})(?<!{edge}\s){quote}(?!{blanks}(?:{edge}|[\r\n]|\Z)))",
        }
        self._opening = re.compile(blanks + quote)
        self._content = re.compile(f"{plain}(?>(?:{meant[inner]}{plain})*)", re.DOTALL)
        self._closing = re.compile(rf"{quote}{blanks}(?:({edge})|[\r\n]*\Z)")
        self._escaped = re.compile(rf"\\([{quote}\\])") if inner is Inner.ESCAPED else None
        # Apostrophes stand in words everywhere: as text they say nothing.
        self._apostrophe = quote == "'"

    def cells(self, lines: Iterator[str]) -> list[str] | None:
        """The cells of the row that begins with the next of `lines`, of which no more than it needs are taken.

        None when a quoted cell has no end or text behind its end, and when there are more than MAX_COLUMNS cells. No
        cells at all when quotes in the middle of cells leave it open where the cells end (Exchange rule 36).
        """
        line, at = next(lines), 0
        cells: list[str] = []
        in_the_middle: list[int] = []
        while len(cells) <= MAX_COLUMNS:
            opening = self._opening.match(line, at)
            if opening is None:
                end = line.find(self._delimiter, at)
                cell = line[at:].rstrip("\r\n") if end < 0 else line[at:end]
                cells.append(cell.strip(" \t"))
                if quotes := cell.count(self._quote):
                    in_the_middle.append(quotes)
                if end < 0:
                    return [] if self._ambiguous(in_the_middle) else cells
                at = end + len(self._delimiter)
                continue
            at = opening.end()
            pieces: list[str] = []
            while (content := self._content.match(line, at)) and content.end() == len(line):
                pieces.append(content[0])
                line, at = next(lines, ""), 0
                if not line:
                    return None
            if content is None:
                return None
            pieces.append(content[0])
            closing = self._closing.match(line, content.end())
            if closing is None:
                return None
            cells.append(self._value("".join(pieces)))
            if closing[1] is None:
                return [] if self._ambiguous(in_the_middle) else cells
            at = closing.end()
        return None

    def _value(self, content: str) -> str:
        if self._escaped:
            content = self._escaped.sub(r"\1", content)
        return content.replace(self._quote * 2, self._quote)

    def _ambiguous(self, in_the_middle: list[int]) -> bool:
        """Whether quotes in the middle, taken as such two by two, would join cells; counted per cell that has any."""
        open_before = False
        for quotes in in_the_middle:
            if open_before:
                return not self._apostrophe
            open_before ^= quotes % 2 == 1
        return False
