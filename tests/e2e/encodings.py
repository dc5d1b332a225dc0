"""Rows as the bytes of a file: text, JSON lines, and workbooks as odd as Excel still opens."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import xlsxwriter

Row = dict[str, str]
Encode = Callable[[list[Row]], bytes]


def as_csv(delimiter: str = ";", encoding: str = "utf-8", quoting: int = csv.QUOTE_MINIMAL) -> Encode:
    def encode(table: list[Row]) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(table[0]), delimiter=delimiter, lineterminator="\n", quoting=quoting)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(table)
        return text.getvalue().encode(encoding)

    return encode


def as_lines(*spelt: Callable[[str], str]) -> Encode:
    """JSON lines; each row's text goes through its own function."""

    def encode(table: list[Row]) -> bytes:
        lines = [spell(json.dumps(row)) for spell, row in zip(spelt, table, strict=True)]
        return "".join(f"{line}\n" for line in lines).encode()

    return encode


def as_workbook(
    *sheets: tuple[str, Callable[[list[Row]], list[list[Any]]]], hidden: Sequence[str] = ()
) -> Callable[[list[Row]], bytes]:
    def encode(table: list[Row]) -> bytes:
        stream = io.BytesIO()
        with xlsxwriter.Workbook(stream) as book:
            for name, cells in sheets:
                sheet = book.add_worksheet(name)
                for line, row in enumerate(cells(table)):
                    for column, value in enumerate(row):
                        if isinstance(value, float):
                            sheet.write_number(line, column, value)
                        elif value == "=NA()":
                            sheet.write_formula(line, column, value, None, "#N/A")
                        else:
                            sheet.write_string(line, column, value)
                if name in hidden:
                    sheet.hide()
            shown = next(sheet for sheet in book.worksheets() if sheet.name not in hidden)
            shown.activate()
            shown.set_first_sheet()
        return stream.getvalue()

    return encode


def grid(*numeric: str, formula: str | None = None) -> Callable[[list[Row]], list[list[Any]]]:
    """Header and rows; the columns `numeric` as numbers, the column `formula` of the last row as an error."""

    def cells(table: list[Row]) -> list[list[Any]]:
        body = [[float(row[name]) if name in numeric else row[name] for name in row] for row in table]
        if formula is not None:
            body[-1][list(table[0]).index(formula)] = "=NA()"
        return [list(table[0]), *body]

    return cells


def repacked(encode: Encode, change: Callable[[str, bytes], tuple[str, bytes]]) -> Encode:
    """A workbook whose members go through `change`."""

    def changed(table: list[Row]) -> bytes:
        stream = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(encode(table))) as old,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for name in old.namelist():
                new.writestr(*change(name, old.read(name)))
        return stream.getvalue()

    return changed


PLAIN_BOOK = as_workbook(("Data", grid()))


def elsewhere(name: str, xml: bytes) -> tuple[str, bytes]:
    """Parts under names of their own, found by relationships alone."""
    moved = {
        "xl/workbook.xml": "xl/buku.xml",
        "xl/_rels/workbook.xml.rels": "xl/_rels/buku.xml.rels",
        "xl/worksheets/sheet1.xml": "xl/lembar/satu.xml",
        "xl/sharedStrings.xml": "xl/teks/kata.xml",
    }
    for old, new in moved.items():
        xml = xml.replace(old.removeprefix("xl/").encode(), f"/{new}".encode()) if name.endswith(".rels") else xml
        xml = xml.replace(f"/{old}".encode(), f"/{new}".encode()) if name == "[Content_Types].xml" else xml
    return moved.get(name, name), xml.replace(b"xl//xl/", b"/xl/")


def dimension(reference: bytes) -> Callable[[str, bytes], tuple[str, bytes]]:
    return lambda name, xml: (name, re.sub(rb'(<dimension ref=")[^"]*', rb"\g<1>" + reference, xml))


def one_string_often(name: str, xml: bytes) -> tuple[str, bytes]:
    """A string of a megabyte that 10,000 cells name."""
    if name == "xl/sharedStrings.xml":
        xml = xml.replace(b"</sst>", b"<si><t>" + b"x" * 2**20 + b"</t></si></sst>")
    if name == "xl/worksheets/sheet1.xml":
        place = max(map(int, re.findall(rb't="s"><v>(\d+)</v>', xml))) + 1
        cells = b"".join(b'<c r="%c%%d" t="s"><v>%d</v></c>' % (65 + column, place) for column in range(20))
        more = b"".join(b'<row r="%d">%s</row>' % (row, cells % ((row,) * 20)) for row in range(3, 503))
        xml = xml.replace(b"</sheetData>", more + b"</sheetData>")
    return name, xml
