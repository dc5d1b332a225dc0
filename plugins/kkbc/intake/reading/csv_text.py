"""Delimited text: the delimiter and the quotation mark are those under which a header shows itself.

Quotes keep to RFC 4180: a quoted cell ends at a quote that a delimiter or the line end follows, see
`kkbc.intake.reading.quoting`. A quote that is never closed, or closed in mid-cell, would swallow the lines after it;
so it spoils the line it stands on and no other: that line alone is ROW_SHAPE, and reading goes on with the next one.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import Contract
from kkbc.intake.reading.batches import BATCH_CHARS, CELL_CHARS, Cells, Dialect, Layout, Reading, Row, frame
from kkbc.intake.reading.blanks import UNSEEN, is_blank
from kkbc.intake.reading.header import MAX_COLUMNS, MAX_TITLES, Header, search
from kkbc.intake.reading.quoting import ESCAPE, Inner, Splitter
from kkbc.intake.reading.text import MAX_LINE, Text

DELIMITERS = ";,|\t "
"""In the order in which they are tried: tabs and blanks last, for they may stand next to the others."""

_QUOTES = "\"'"

MAX_ROW_LINES = 1000
MAX_ROW_CHARS = 2**20
"""A row over more lines, or longer over several lines, has an unclosed quote. Bounds what one bad quote can cost."""

_MAX_READ_AGAIN = 2**31
_LINE_COST = 64
"""What all bad quotes of a file can cost: characters that are read again, a line counting for some more."""

_MAX_BLANK = 2**20
"""Characters of blank lines on end above a header: they are without number, but not without end."""

# The module's own limit on a cell is process-wide; lines are bounded already.
csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))


@dataclass(frozen=True)
class _Place:
    """Where a candidate for the header stands, and the rows that follow it."""

    line: int
    rest: "_Rows"


def read_csv(text: Text, file_format: str, contract: Contract, batch_rows: int) -> Reading:
    """Rows of delimited text. Raises SliceRejected HEADER at once when no delimiter gives a header."""
    place, header = search(_candidates(text), contract)
    return Reading(
        format=file_format,
        dialect=Dialect(encoding=text.dialect_encoding, delimiter=place.rest.delimiter, header_line=place.line),
        extra_columns=list(header.extra),
        missing_columns=list(header.missing),
        batches=_batches(place.rest, header, contract, batch_rows),
        layout=Layout(header.names, header.positions, quote=place.rest.quote),
    )


def _batches(rows: "_Rows", header: Header, contract: Contract, batch_rows: int) -> Iterator[pl.DataFrame]:
    """Frames as `kkbc.intake.reading.batches.frames` gives them.

    A line without a quote is a row whose cells the delimiters part, whatever stands around it. Those lines, nearly all
    of a file, are cut up together; the others take the long way through the csv reader.
    """
    numbers, lines, quoted = rows.take(batch_rows, header)
    while True:
        batches = [_cut_up(numbers, lines, rows.delimiter, header, contract)] if numbers or not quoted else []
        batches += [frame(quoted, contract)] if quoted else []
        yield batches[0] if len(batches) == 1 else pl.concat(batches).sort("_line")
        numbers, lines, quoted = rows.take(batch_rows, header)
        if not (numbers or quoted):
            return


def _cut_up(numbers: list[int], lines: list[str], delimiter: str, header: Header, contract: Contract) -> pl.DataFrame:
    """Rows of lines without quotes."""
    raw = pl.col("_raw")
    places = zip([column.name for column in contract.columns], header.positions, strict=True)
    cells = pl.when("_shape_ok").then(raw).str.split_exact(delimiter, max(header.width - 1, 1)).alias("cells")
    return (
        pl.LazyFrame({"_line": numbers, "_raw": lines}, schema={"_line": pl.Int64, "_raw": pl.String})
        .with_columns(raw.str.strip_chars_end("\r\n"))
        .with_columns((raw.str.count_matches(delimiter, literal=True) == header.width - 1).alias("_shape_ok"))
        .with_columns(cells)
        .select(
            "_line",
            "_raw",
            "_shape_ok",
            *(
                pl.lit(None, pl.String).alias(name)
                if place is None
                else pl.col("cells").struct.field(f"field_{place}").alias(name)
                for name, place in places
            ),
        )
        .collect(optimizations=pl.QueryOptFlags.none())
    )


def _candidates(text: Text) -> Iterator[tuple[_Place, list[str]]]:
    """Lines that may be the header, under each quotation mark and delimiter.

    A line with quotes comes twice: as its quotes say, and as if they were not there, for names are known by themselves.
    """
    for quote in _QUOTES:
        for delimiter in DELIMITERS:
            rows = _Rows(text.lines(), delimiter, quote)
            titles = title_end = 0
            for line, raw, cells in rows:
                titles += line > title_end
                if titles > MAX_TITLES + 1:
                    break
                title_end = max(title_end, rows.last_line)
                yield _Place(line, rows), [cell or "" for cell in cells or ()]
                # A title: a quote in it may have swallowed the lines after it, the header among them.
                rows.return_to_second_line()
                if quote in raw and raw.count(delimiter) < MAX_COLUMNS:
                    yield _Place(line, rows), rows.first_line.replace(quote, "").strip("\r\n").split(delimiter)


class _Rows:
    """Every row that is not blank (Exchange rule 14); cells are None when its quotes are broken."""

    def __init__(self, lines: Iterator[str], delimiter: str, quote: str) -> None:
        self._feed = _Feed(lines)
        self._reader = csv.reader(
            self._feed, delimiter=delimiter, quotechar=quote, skipinitialspace=delimiter != " ", strict=True
        )
        self._splitter = Splitter(delimiter, quote)
        self._escaped = Splitter(delimiter, quote, Inner.ESCAPED)
        self._bare = Splitter(delimiter, quote, Inner.BARE)
        self._hollow = UNSEEN + delimiter + quote
        self.quote = quote
        self.delimiter = delimiter
        self.last_line = 0

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        blank = 0
        while first := self._feed.read():
            self._feed.give_back(first)
            cells = self._cells(first)
            line = self.last_line + 1
            self.last_line += len(self._feed.taken)
            raw = "".join(self._feed.taken).rstrip("\r\n")
            if raw.strip(self._hollow) or cells is None or not all(map(is_blank, cells)):
                return line, raw, cells
            blank += len(first)
            if blank > _MAX_BLANK:
                raise SliceRejected("HEADER", f"more than {_MAX_BLANK} characters of blank lines")
        raise StopIteration

    def _cells(self, first: str) -> list[str] | None:
        """The cells of the row that begins with the line `first`, the next of the feed."""
        if first.count(self.delimiter) <= MAX_COLUMNS:
            self._feed.taken.clear()
            try:
                cells = next(self._reader)
                if self.quote not in "".join(cells):
                    return cells
            except csv.Error:
                pass
            self._feed.give_back_all()
        looked = self._look(self._splitter)
        if looked is None and ESCAPE + self.quote in first:
            self._feed.give_back_all()
            looked = self._look(self._escaped)
        if looked is None:
            self._feed.give_back_all_but_first()
            looked = self._bare.cells(iter([first]))
        return looked

    def _look(self, splitter: Splitter) -> list[str] | None:
        self._feed.taken.clear()
        try:
            return splitter.cells(self._feed)
        except csv.Error:
            return None

    def take(self, count: int, header: Header) -> tuple[list[int], list[str], list[Row]]:
        """The next `count` rows, or less at the end of the file or when they are long, those in one line without any
        quote as lines with their numbers, the others as rows whose cells follow the contract.
        """
        numbers: list[int] = []
        lines: list[str] = []
        quoted: list[Row] = []
        chars, cells = 0, CELL_CHARS * header.width
        while len(lines) + len(quoted) < count and chars < BATCH_CHARS:
            line = self._feed.read()
            if self.quote not in line:
                if not line:
                    break
                self.last_line += 1
                if line.strip(self._hollow):
                    numbers.append(self.last_line)
                    lines.append(line)
                    chars += len(line) + cells
                continue
            self._feed.give_back(line)
            row = next(self, None)
            if row is None:
                break
            quoted.append((row[0], row[1], _fitting(row[2], header)))
            chars += len(row[1]) + cells
        return numbers, lines, quoted

    @property
    def first_line(self) -> str:
        """The first physical line of the row just given."""
        return self._feed.taken[0]

    def return_to_second_line(self) -> None:
        """Read the row just given as its first line alone: the next row starts on the line after."""
        self.last_line -= self._feed.give_back_all_but_first()


def _fitting(cells: Cells | None, header: Header) -> Cells | None:
    """The cells in the order of the contract, None when they are more or fewer than the header's."""
    if cells is None or len(cells) != header.width:
        return None
    return [None if place is None else cells[place] for place in header.positions]


class _Feed:
    """Feeds lines to the csv reader, keeping those of the present row, so that they can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self._chars = 0
        self._read_again = 0
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

    def read(self) -> str:
        """The next line past the csv reader, "" at the end."""
        return self._again.popleft() if self._again else next(self._lines, "")

    def give_back(self, line: str) -> None:
        """Put a line back that was read, for the csv reader."""
        self._again.appendleft(line)

    def give_back_all(self) -> None:
        """Put back all lines of the present row, to be read again in another way."""
        self._again.extendleft(reversed(self.taken))
        self.taken.clear()

    def give_back_all_but_first(self) -> int:
        """Put the lines after the first back, to be read again on their own; how many these are.

        Raises SliceRejected UNREADABLE when so many quotes are left open that reading would have no end.
        """
        back = self.taken[1:]
        self._again.extendleft(reversed(back))
        del self.taken[1:]
        self._read_again += sum(map(len, back)) + _LINE_COST * len(back)
        if self._read_again > _MAX_READ_AGAIN:
            raise SliceRejected("UNREADABLE", "quotes are left open in too many rows")
        return len(back)
