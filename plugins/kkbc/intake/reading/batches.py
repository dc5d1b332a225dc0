"""What a reading hands on: a dialect, drift, and batches of text cells. All formats meet here."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import polars as pl

from kkbc.exchange.contracts import Contract

BATCH_CHARS = 8 * 2**20
"""A batch ends early when its rows are so long. Each copy of it takes that many bytes, and there are several."""

CELL_CHARS = 4
"""What a cell counts for in that, for it takes room even when it is empty."""

_PIECE = 2000

Cells = Sequence[str | None]
Row = tuple[int, str, Cells | None]
"""One data row: line, raw text, cells; None for cells means ROW_SHAPE."""


@dataclass(frozen=True)
class Dialect:
    """How the file was written, as far as its format knows of such a thing.

    `encoding` is utf-8, utf-8-sig (with a byte order mark) or windows-1252; `header_line` the 1-based line or sheet row
    that the header starts on.
    """

    encoding: str | None = None
    delimiter: str | None = None
    header_line: int | None = None
    sheet: str | None = None


@dataclass(frozen=True)
class Layout:
    """Where the cells of a row stand in a file with a header, for who writes a row in the place of another.

    `names` are the header's as read, `positions` follows the columns of the contract. `quote` is the quotation mark of
    a text file, `sheet` the number of the sheet among those of a workbook, visible ones first.
    """

    names: tuple[str, ...]
    positions: tuple[int | None, ...]
    quote: str = ""
    sheet: int = 0


@dataclass
class Reading:
    """One file being read.

    `extra_columns` are columns of the file that the contract does not know, as they are spelt there; `missing_columns`
    wire names of optional columns that the file lacks. For JSONL both are complete only when `batches` is consumed.
    `other_sheets` are names of visible sheets of a workbook whose header would have fitted as well (Exchange rule 29).
    `layout` is None for files without a header.

    `batches` yields at least one frame: `_line` Int64 (1-based physical line that the row starts on, or sheet row),
    `_raw` String (the row as sent, without its line end; sheet cells joined by tabs), `_shape_ok` Boolean (False: row
    with more or fewer cells than the header, its cells are null), then a String column for each column of the contract,
    null where the file has no such column. Cells are verbatim, save that blanks around them may be gone, which are no
    part of a cell (Exchange rule 36). U+FFFD stands in a cell for what is no character: bytes that are not UTF-8 in a
    file that says it is, halves of surrogate pairs in JSON.
    """

    format: str
    dialect: Dialect
    extra_columns: list[str] = field(default_factory=list)
    missing_columns: list[str] = field(default_factory=list)
    other_sheets: list[str] = field(default_factory=list)
    batches: Iterator[pl.DataFrame] = field(default_factory=lambda: iter(()))
    layout: Layout | None = None


def frames(
    rows: Iterable[Row], contract: Contract, batch_rows: int, positions: Sequence[int | None] | None = None
) -> Iterator[pl.DataFrame]:
    """Frames of at most `batch_rows` rows and, give or take a row, BATCH_CHARS characters; at least one frame.

    `positions` says for each column of the contract where its cell stands in a row, None for nowhere; without it the
    cells come in the order of the contract.
    """
    remaining = iter(rows)
    yield _batch(remaining, contract, positions, batch_rows)
    while (batch := _batch(remaining, contract, positions, batch_rows)).height:
        yield batch


def frame(rows: list[Row], contract: Contract, positions: Sequence[int | None] | None = None) -> pl.DataFrame:
    """One frame of `rows`, see `frames`."""
    names = [column.name for column in contract.columns]
    places = range(len(names)) if positions is None else positions
    width = next((len(cells) for _, _, cells in rows if cells is not None), 0)
    nothing: Cells = [None] * width
    columns = list(zip(*(nothing if cells is None else cells for _, _, cells in rows), strict=True))
    absent = [None] * len(rows)
    return pl.DataFrame(
        [
            pl.Series("_line", [line for line, _, _ in rows], dtype=pl.Int64),
            pl.Series("_raw", [raw for _, raw, _ in rows], dtype=pl.String),
            pl.Series("_shape_ok", [cells is not None for _, _, cells in rows], dtype=pl.Boolean),
            *(
                pl.Series(name, absent if place is None or not columns else columns[place], dtype=pl.String)
                for name, place in zip(names, places, strict=True)
            ),
        ]
    )


def _batch(
    rows: Iterator[Row], contract: Contract, positions: Sequence[int | None] | None, batch_rows: int
) -> pl.DataFrame:
    """The next `batch_rows` rows, fewer at the end. Made of small pieces, which fit the processor's cache."""
    pieces: list[pl.DataFrame] = []
    wanted, chars = batch_rows, 0
    while (wanted > 0 and chars < BATCH_CHARS) or not pieces:
        piece: list[Row] = []
        for row in islice(rows, min(wanted, _PIECE)):
            piece.append(row)
            chars += len(row[1])
            if chars >= BATCH_CHARS:
                break
        if piece or not pieces:
            pieces.append(frame(piece, contract, positions))
        if not piece:
            break
        wanted -= len(piece)
    return pl.concat(pieces)
