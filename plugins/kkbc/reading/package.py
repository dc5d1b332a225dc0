"""The package of a workbook, looked over before a library opens it.

An .xlsx is a zip of XML. This pass finds damage (checksums), packages that unfold beyond all proportion, and sheets
whose outermost cells lie so far apart that laying out the grid between them would exhaust the memory (the library does
that, and aborts the process). It also learns what the library does not tell: the date system and the error cells.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO
from xml.etree import ElementTree  # expat bounds the expansion of entities

from kkbc.errors import SliceRejected

MAX_UNFOLDED = 2**30
MAX_GRID = 30_000_000
"""Cells in the rectangle from A1 to the last row and column of a sheet; some 30 bytes each."""

_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_CHUNK = 2**20
_LONG_ROW = 16 * 2**20

# Tags may carry a namespace prefix (<x:c ...>). A cell that does not begin with its reference counts as without.
_ROW = re.compile(rb"[<:]row[\s/>][^>]*")
_ROW_NUMBER = re.compile(rb"""\br=["'](\d+)""")
_CELL = re.compile(rb"""[<:]c(?: r=["']([A-Z]+)|[\s/>])""")
_ERROR_CELL = re.compile(rb"""[<:]c\s([^>/]*\bt=["']e["'][^>/]*)>(.*?)</(?:\w+:)?c>""", re.DOTALL)
_REFERENCE = re.compile(rb"""\br=["']([A-Z]+)(\d+)["']""")
_VALUE = re.compile(rb"[<:]v[^>]*>([^<]*)<")


@dataclass
class Package:
    """What the library is not asked for. `errors` per sheet: {(row, column), both from 0: text such as #N/A}."""

    date1904: bool = False
    errors: dict[str, dict[tuple[int, int], str]] = field(default_factory=dict)


def inspect(stream: IO[bytes]) -> Package:
    """Look the package over.

    Raises SliceRejected UNREADABLE for one that must not be opened, and what zipfile and XML parser raise for damage.
    """
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        names = {member.filename for member in members}
        if _WORKBOOK not in names:
            raise SliceRejected("UNREADABLE", "a zip archive, but not an .xlsx workbook")
        # A member yields no more than it declares, or its checksum fails.
        if sum(member.file_size for member in members) > MAX_UNFOLDED:
            raise SliceRejected("UNREADABLE", f"the workbook unfolds to more than {MAX_UNFOLDED} bytes")
        errors = {member.filename: _errors(archive, member) for member in members}
        package = Package()
        workbook = ElementTree.fromstring(archive.read(_WORKBOOK))  # noqa: S314
        for properties in workbook.iterfind("{*}workbookPr"):
            package.date1904 = properties.get("date1904") in {"1", "true", "on"}
        targets = _targets(archive) if _RELATIONS in names else {}
        for sheet in workbook.iterfind("{*}sheets/{*}sheet"):
            relation = next((value for name, value in sheet.attrib.items() if name.endswith("}id")), "")
            package.errors[sheet.get("name", "")] = errors.get(targets.get(relation, ""), {})
        return package


def _targets(archive: zipfile.ZipFile) -> dict[str, str]:
    """Member names by relation id."""
    relations = ElementTree.fromstring(archive.read(_RELATIONS))  # noqa: S314
    return {
        relation.get("Id", ""): target[1:] if (target := relation.get("Target", "")).startswith("/") else f"xl/{target}"
        for relation in relations
    }


def _errors(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> dict[tuple[int, int], str]:
    """Error cells of one member; every member is read to its end, so that its checksum is tested."""
    errors: dict[tuple[int, int], str] = {}
    rows = width = 0
    with archive.open(member) as stream:
        for block in _whole_rows(stream):
            tags = _ROW.findall(block)
            numbers = [int(number) for tag in tags for number in _ROW_NUMBER.findall(tag)]
            columns = _CELL.findall(block)
            # Rows and cells may do without a reference; they then follow the one before.
            rows = max(rows, *numbers, 0) + len(tags) - len(numbers)
            width = max(width, *map(_column, set(columns)))
            if b"" in columns:
                width += max(len(_CELL.findall(row)) for row in block.split(b"row>"))
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
