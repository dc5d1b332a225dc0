"""Workbooks with tombstones in the place of some rows, and nothing of the persons in any other part.

The sheet that is read gets a tombstone for each row, other sheets lose the rows that hold something of the persons.
Shared strings that only such rows named are empty, in their places, so that the numbers of the others stay. In all
other parts what holds something of the persons is emptied: properties, comments, names, links, caches, pictures.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kkbc.core.needles import SHORTEST, Needles
from kkbc.exchange.contracts import Contract
from kkbc.exchange.slices import ERASED
from kkbc.intake.reading.batches import Layout
from kkbc.intake.reading.cells import plain
from kkbc.intake.rewriting.markup import Piece, as_utf8, holds, pieces, scrubbed
from kkbc.intake.rewriting.persons import Persons
from kkbc.intake.spreadsheets.package import Budget, normal
from kkbc.intake.spreadsheets.sheet import rows
from kkbc.intake.spreadsheets.workbook import Workbook, open_workbook, unescaped

_BATCH = 5_000
_LONG_NUMBER = 9
_PICTURES = "docprops/thumbnail"
# The parts that begin so hold a workbook together: in them only what holds a value itself goes.
_STRUCTURE = {"workbook", "Relationships", "Types", "styleSheet", "theme"}


@dataclass
class _Sheet:
    """What a sheet loses: rows by number, and those of them that get a tombstone in a cell of the column `marked`."""

    cut: set[int] = field(default_factory=set)
    tombstones: frozenset[int] = frozenset()
    marked: int = 0


@dataclass
class _Strings:
    """How often the shared strings are named, by number: by rows that go, and by others."""

    cut: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)


def rewrite_workbook(
    path: Path,
    made: Path,
    contract: Contract,
    header_line: int,
    layout: Layout,
    lines: frozenset[int],
    persons: Persons,
) -> None:
    """Writes the workbook anew to `made`; `lines` are the rows of the sheet that is read that become tombstones."""
    marked = layout.positions[contract.columns.index(contract.marked_erased)] or 0
    with path.open("rb") as stream:
        workbook = open_workbook(stream, path.stat().st_size)
        sheets, theirs = _sheets(workbook, path.stat().st_size, header_line, layout, lines, marked, persons)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(made, "w") as target:
        members = archive.infolist()
        strings, changed = _Strings(), {}
        for member in members:
            sheet = sheets.get(normal(member.filename))
            data = as_utf8(archive.read(member)) if sheet else None
            if sheet and data is not None:
                changed[member.filename] = b"".join(_rewritten_sheet(data, sheet, strings))
        for member in members:
            name = normal(member.filename)
            data = changed.get(member.filename) or _read(archive, member)
            if name in sheets:
                data = scrubbed(data, persons.needles, whole=False)
            elif name == normal(workbook.strings_part):
                data = b"".join(_rewritten_strings(as_utf8(data) or b"", strings, persons.needles))
            else:
                data = _other(name, data, persons.needles, theirs)
            _write(target, member, data)


def _sheets(
    workbook: Workbook,
    size: int,
    header_line: int,
    layout: Layout,
    lines: frozenset[int],
    marked: int,
    persons: Persons,
) -> tuple[dict[str, _Sheet], Needles]:
    """What each sheet loses, by the name of its part, and the texts that stand in rows that go and in no other row."""
    found: dict[str, _Sheet] = {}
    gone: set[str] = set()
    stays: set[str] = set()
    for number, sheet in enumerate(workbook.sheets):
        what = found.setdefault(normal(sheet.part), _Sheet())
        is_read = number == layout.sheet
        if is_read:
            what.tombstones, what.marked = lines, marked
            what.cut |= lines
        for batch in _batches(workbook, number, size):
            texts = pl.Series(["\t".join(cells) for _, cells in batch], dtype=pl.String)
            theirs = persons.needles.found_in(texts)
            for (line, cells), is_theirs in zip(batch, theirs, strict=True):
                if is_read and line >= header_line:
                    (gone if line in lines else stays).update(cells)
                elif is_theirs:
                    what.cut.add(line)
    only_there = {text.strip() for text in gone - stays}
    own = sorted(text for text in only_there if len(text) >= SHORTEST and _tells(text))
    return found, Needles([*own, *persons.texts])


def _tells(text: str) -> bool:
    """Whether a text of a row may tell of a person in another part: words, or a long number."""
    return any(character.isalpha() for character in text) or sum(map(str.isdigit, text)) >= _LONG_NUMBER


def _batches(workbook: Workbook, number: int, size: int) -> Iterator[list[tuple[int, list[str]]]]:
    batch: list[tuple[int, list[str]]] = []
    for line, cells in rows(workbook, workbook.sheets[number], Budget(size)):
        batch.append((line, [plain(cell, workbook.date1904) for cell in cells]))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _rewritten_sheet(data: bytes, sheet: _Sheet, strings: _Strings) -> Iterator[bytes]:
    """A sheet without the cells of the rows that go. Notes which shared strings rows name that go, and others."""
    parts = pieces(data)
    last = 0
    for piece in parts:
        if piece.name != "row" or not piece.opens:
            yield piece.written
            continue
        row = [piece] if piece.ends else [piece, *_until_end(parts, "row")]
        last = line = _line(row) or last + 1
        if line not in sheet.cut:
            strings.kept.update(_named(row))
            yield b"".join(part.written for part in row)
            continue
        strings.cut.update(_named(row))
        yield piece.written
        if line in sheet.tombstones and not piece.ends:
            yield _tombstone(piece.prefix, line, sheet.marked)
        if not piece.ends:
            yield row[-1].written


def _until_end(parts: Iterator[Piece], name: str) -> Iterator[Piece]:
    for part in parts:
        yield part
        if part.name == name and part.ends:
            return


def _line(row: list[Piece]) -> int:
    """The number of a row by what it or its first cell says, 0 where neither does."""
    said = row[0].attribute("r")
    if said:
        return int(said)
    references = (part.attribute("r") for part in row if part.name == "c" and part.opens)
    reference = next((text for text in references if text), "")
    return int(reference.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") or 0)


def _named(row: list[Piece]) -> Iterator[int]:
    """The numbers of the shared strings that the cells of a row name."""
    is_shared = inside = False
    for part in row:
        if part.name == "c" and part.opens:
            is_shared = part.attribute("t") == "s"
        elif part.name == "v":
            inside = part.opens and not part.ends
        elif is_shared and inside and part.is_text:
            yield int(part.text)


def _tombstone(prefix: bytes, line: int, column: int) -> bytes:
    cell = '<{0}c r="{1}{2}" t="inlineStr"><{0}is><{0}t>{3}</{0}t></{0}is></{0}c>'
    return cell.format(prefix.decode(), _letters(column), line, ERASED).encode()


def _letters(column: int) -> str:
    """The letters of a column by its number from 0."""
    letters = ""
    column += 1
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(65 + digit) + letters
    return letters


def _rewritten_strings(data: bytes, strings: _Strings, needles: Needles) -> Iterator[bytes]:
    """The shared strings; empty where only rows named them that go, ERASED where others name a person."""
    parts = list(pieces(data))
    starts = [at for at, part in enumerate(parts) if part.name == "si" and part.opens]
    ends = [at for at, part in enumerate(parts) if part.name == "si" and part.ends]
    spans = list(zip(starts, ends, strict=True))
    texts = ["".join(part.text for part in parts[a:b] if part.is_text) for a, b in spans]
    theirs = needles.found_in(pl.Series([unescaped(text) for text in texts], dtype=pl.String))
    at = 0
    for number, (start, end) in enumerate(spans):
        yield b"".join(part.written for part in parts[at:start])
        at = end + 1
        only_cut = number in strings.cut and number not in strings.kept
        if only_cut or theirs[number]:
            text = "" if only_cut or number not in strings.kept else ERASED
            yield "<{0}si><{0}t>{1}</{0}t></{0}si>".format(parts[start].prefix.decode(), text).encode()
        else:
            yield b"".join(part.written for part in parts[start:at])
    yield b"".join(part.written for part in parts[at:])


def _other(name: str, data: bytes, needles: Needles, texts: Needles) -> bytes:
    """Any other part: as it is where it holds nothing of the persons nor of their rows, else without that."""
    if name.startswith(_PICTURES):
        return b""
    xml = as_utf8(data)
    if xml is None:
        return b"" if texts.count(data) else data
    root = next((piece.name for piece in pieces(xml) if piece.opens), "")
    used = needles if root in _STRUCTURE else texts
    return scrubbed(xml, used, whole=True) if holds(xml, used) else data


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The content of a part; nothing of one that is locked or packed in a way that workbooks are not."""
    try:
        return archive.read(member)
    except (NotImplementedError, RuntimeError):
        return b""


def _write(target: zipfile.ZipFile, member: zipfile.ZipInfo, data: bytes) -> None:
    """The same member with other content; comments and extra fields of the archive are left out."""
    info = zipfile.ZipInfo(member.filename, member.date_time)
    info.compress_type = member.compress_type if member.compress_type == zipfile.ZIP_STORED else zipfile.ZIP_DEFLATED
    info.external_attr = member.external_attr
    target.writestr(info, data)
