"""Workbooks (.xlsx): the first sheet with a header of the feed, its cells as the text that validation reads."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from python_calamine import CalamineSheet, CalamineWorkbook, PasswordError, SheetTypeEnum

from kkbc.contracts import Contract
from kkbc.errors import SliceRejected
from kkbc.reading.batches import Dialect, Reading, Row, frames
from kkbc.reading.cells import Value, blank, plain, render
from kkbc.reading.header import MAX_TITLES, Header, search
from kkbc.reading.package import Package, inspect

SheetRows = Iterator[tuple[int, list[Value]]]
"""Rows that hold something, with their number in the sheet from 1."""


@dataclass(frozen=True)
class _Place:
    """Where a candidate for the header stands, and the rows that follow it."""

    sheet: str
    line: int
    rest: SheetRows


def read_workbook(path: Path, contract: Contract, batch_rows: int) -> Reading:
    """Rows of the first sheet whose top holds a header. Raises SliceRejected UNREADABLE or HEADER."""
    content = io.BytesIO(path.read_bytes())
    package = inspect(content)
    content.seek(0)
    with _library_fails():
        workbook = CalamineWorkbook.from_filelike(content)
    place, header = search(_candidates(workbook, package), contract)
    return Reading(
        format="xlsx",
        dialect=Dialect(header_line=place.line, sheet=place.sheet),
        extra_columns=list(header.extra),
        missing_columns=list(header.missing),
        batches=frames(_rows(place.rest, header, contract, package.date1904), contract, batch_rows),
    )


def _candidates(workbook: CalamineWorkbook, package: Package) -> Iterator[tuple[_Place, list[str]]]:
    for sheet in workbook.sheets_metadata:
        if sheet.typ != SheetTypeEnum.WorkSheet:
            continue
        with _library_fails():
            grid = workbook.get_sheet_by_name(sheet.name)
        rows = _filled(grid, package.errors.get(sheet.name, {}))
        for line, values in islice(rows, MAX_TITLES + 1):
            cells = [plain(value) for value in values]
            while cells and not cells[-1].strip():
                cells.pop()
            yield _Place(sheet.name, line, rows), cells


def _filled(sheet: CalamineSheet, errors: dict[tuple[int, int], str]) -> SheetRows:
    """Rows with a cell that is not blank (Exchange rule 14); error cells, which come empty, hold their text again."""
    by_row: dict[int, list[tuple[int, str]]] = {}
    first_column = sheet.start[1] if sheet.start else 0
    for (row, column), text in errors.items():
        by_row.setdefault(row, []).append((column - first_column, text))
    for row, values in enumerate(_values(sheet)):
        for column, text in by_row.get(row, ()):
            if 0 <= column < len(values):
                values[column] = text
        if not all(map(blank, values)):
            yield row + 1, values


def _values(sheet: CalamineSheet) -> Iterator[list[Value]]:
    with _library_fails():
        yield from sheet.iter_rows()


def _rows(filled: SheetRows, header: Header, contract: Contract, date1904: bool) -> Iterator[Row]:
    columns = list(zip(contract.columns, header.positions, strict=True))
    for line, values in filled:
        raw = "\t".join([value if type(value) is str else plain(value) for value in values]).rstrip("\t")
        if "\0" in raw:
            raise SliceRejected("UNREADABLE", f"row {line} escapes a character that no text can hold")
        cells = None
        if all(map(blank, values[header.width :])):
            cells = [None if place is None else render(values[place], column, date1904) for column, place in columns]
        yield line, raw, cells


@contextmanager
def _library_fails() -> Iterator[None]:
    """Whatever the library makes of damage that checksums do not show, its panics included: UNREADABLE."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except PasswordError as error:
        raise SliceRejected("UNREADABLE", "the workbook is protected by a password") from error
    except BaseException as error:
        raise SliceRejected("UNREADABLE", f"the workbook is damaged ({type(error).__name__})") from error
