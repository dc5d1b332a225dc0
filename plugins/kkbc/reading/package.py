"""The package of a workbook, looked over before a library opens it.

An .xlsx is a zip of XML. This pass finds damage (checksums), packages that unfold beyond all proportion, and sheets
whose outermost cells lie so far apart that laying out the grid between them would exhaust the memory (the library does
that, and aborts the process). It also learns what the library does not tell: the date system and the error cells.
"""

import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO
from xml.etree import ElementTree

from kkbc.errors import SliceRejected

MAX_UNFOLDED = 2**30
MAX_GRID = 30_000_000
"""Cells in the rectangle from A1 to the last row and column that hold something; some 80 bytes each when all text."""

_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_CHUNK = 2**20
_LONG_ROW = 16 * 2**20

# What zipfile, the decompressors and the XML parser raise for damage of every kind.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ElementTree.ParseError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
)

# Tags may carry a namespace prefix (<x:c ...>). Cells without content (<c .../>), however many, take no room. A cell
# that does not begin with its reference counts as one without.
_ROW = re.compile(rb"""[<:]row(?=[\s/>])(?:[^>]*?\sr=["'](\d+))?""")
_FILLED_CELL = re.compile(rb"""[<:]c(?:\sr=["']([A-Z]+)|(?=[\s>]))[^>]*(?<!/)>""")
_ERROR_CELL = re.compile(rb"""[<:]c\s([^>/]*\bt=["']e["'][^>/]*)>(.*?)</(?:\w+:)?c>""", re.DOTALL)
_REFERENCE = re.compile(rb"""\br=["']([A-Z]+)(\d+)["']""")
_VALUE = re.compile(rb"[<:]v[^>]*>([^<]*)<")


@dataclass
class Package:
    """What the library is not asked for. `errors` per sheet: {(row, column), both from 0: text such as #N/A}."""

    date1904: bool = False
    errors: dict[str, dict[tuple[int, int], str]] = field(default_factory=dict)


def inspect(stream: IO[bytes]) -> Package:
    """Look the package over. Raises SliceRejected UNREADABLE for one that is damaged or must not be opened."""
    try:
        with zipfile.ZipFile(stream) as archive:
            return _inspect(archive)
    except _DAMAGE as error:
        raise SliceRejected("UNREADABLE", f"the workbook is damaged or cut off ({type(error).__name__})") from error


def _inspect(archive: zipfile.ZipFile) -> Package:
    members = archive.infolist()
    names = {member.filename for member in members}
    if _WORKBOOK not in names:
        raise SliceRejected("UNREADABLE", "a zip archive, but not an .xlsx workbook")
    # A member yields no more than it declares, or its checksum fails.
    if sum(member.file_size for member in members) > MAX_UNFOLDED:
        raise SliceRejected("UNREADABLE", f"the workbook unfolds to more than {MAX_UNFOLDED} bytes")
    errors = {member.filename: _errors(archive, member) for member in members}
    package = Package()
    workbook = ElementTree.fromstring(archive.read(_WORKBOOK))  # noqa: S314 expat bounds the expansion of entities
    for properties in workbook.iterfind("{*}workbookPr"):
        package.date1904 = properties.get("date1904") in {"1", "true", "on"}
    targets = _targets(archive) if _RELATIONS in names else {}
    for sheet in workbook.iterfind("{*}sheets/{*}sheet"):
        relation = next((value for name, value in sheet.attrib.items() if name.endswith("}id")), "")
        package.errors[sheet.get("name", "")] = errors.get(targets.get(relation, ""), {})
    return package


def _targets(archive: zipfile.ZipFile) -> dict[str, str]:
    """Member names by relation id."""
    relations = ElementTree.fromstring(archive.read(_RELATIONS))  # noqa: S314 as above
    return {
        relation.get("Id", ""): target[1:] if (target := relation.get("Target", "")).startswith("/") else f"xl/{target}"
        for relation in relations
    }


def _errors(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> dict[tuple[int, int], str]:
    """Error cells of one member; every member is read to its end, so that its checksum is tested."""
    errors: dict[tuple[int, int], str] = {}
    columns: set[bytes] = set()
    row = rows = longest = 0
    with archive.open(member) as stream:
        for block in _whole_rows(stream):
            for piece in block.split(b"row>"):
                # Rows and cells may do without a reference; they then follow the one before.
                for number in _ROW.findall(piece):
                    row = int(number) if number else row + 1
                if cells := _FILLED_CELL.findall(piece):
                    rows, longest = max(rows, row), max(longest, len(cells))
                    columns.update(cells)
            width = max(map(_column, columns), default=0) + (longest if b"" in columns else 0)
            if rows * width > MAX_GRID:
                raise SliceRejected("UNREADABLE", f"a sheet spans {rows} rows by {width} columns")
            if b'"e"' in block or b"'e'" in block:
                errors.update(_error_cells(block))
    return errors


def _whole_rows(stream: IO[bytes]) -> Iterator[bytes]:
    """The XML in blocks that end with a row, unless it has none for long."""
    rest = b""
    for chunk in iter(partial(stream.read, _CHUNK), b""):
        block, found, rest = (rest + chunk).rpartition(b"row>")
        yield block + found
        if len(rest) > _LONG_ROW:
            yield rest
            rest = b""
    yield rest


def _error_cells(block: bytes) -> Iterator[tuple[tuple[int, int], str]]:
    for attributes, content in _ERROR_CELL.findall(block):
        reference, value = _REFERENCE.search(attributes), _VALUE.search(content)
        if reference and value:
            yield (int(reference[2]) - 1, _column(reference[1]) - 1), value[1].decode("utf-8", "replace")


def _column(letters: bytes) -> int:
    """Number of a column from 1: A is 1, AA is 27."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
