"""Workbooks without persons: the rows that are read, other sheets, and every other part of the package."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter
from python_calamine import CalamineError, CalamineWorkbook

from kkbc.core.needles import Needles, in_file
from kkbc.exchange.contracts import load_contract
from kkbc.intake.reading import read
from kkbc.intake.rewriting import Persons, holds_any, rewrite
from tests.deliveries import REGISTRATION
from tests.e2e.encodings import elsewhere

GONE, STAYS = "1171011203909001", "1171011203909002"
NAME, STREET = "Orang Hilang", "Jalan Kenangan 77"
PERSONS = Persons(frozenset({GONE}), frozenset({NAME, "hilang@contoh.id"}))
COLUMNS = list(REGISTRATION)
NIK = COLUMNS.index("nik")


def row(nik: str, key: str, **changes: str) -> list[str]:
    return list((REGISTRATION | {"nik": nik, "no_pendaftaran": key} | changes).values())


def workbook(fill: Callable[[xlsxwriter.Workbook], None]) -> bytes:
    """A workbook whose first sheet has a title, the header in row 3, the person in rows 4 and 7, others between."""
    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream) as book:
        sheet = book.add_worksheet("Data")
        sheet.write_row(0, 0, ["Laporan", NAME])
        sheet.write_row(2, 0, COLUMNS)
        sheet.write_row(3, 0, row(GONE, "R-1", nama_lengkap=NAME, alamat=STREET))
        sheet.write_row(4, 0, row(STAYS, "R-2"))
        sheet.write_row(5, 0, row(STAYS, "R-3", alamat=""))
        sheet.write_row(6, 0, row("", "R-4", lokasi_pekerjaan=f"rumah {NAME.upper()}"))
        sheet.write_row(7, 0, [*row(STAYS, "R-5"), "zu viel"])
        fill(book)
    return stream.getvalue()


def rewritten(tmp_path: Path, content: bytes) -> Path:
    """What becomes of a workbook: no value in it, other rows as they were, and again the same bytes."""
    path, made, again = tmp_path / "sent", tmp_path / "made", tmp_path / "again"
    path.write_bytes(content)
    contract = load_contract("pendaftaran")
    assert holds_any(path, "a.xlsx", PERSONS)
    assert rewrite(path, "a.xlsx", contract, 5, PERSONS, made) == (4, 7)
    assert not in_file(made, Needles([*PERSONS.texts, STREET]))
    assert not holds_any(made, "a.xlsx", PERSONS)
    old, new = (pl.concat(read(p, "a.xlsx", contract, expected_rows=5).batches) for p in (path, made))
    others = pl.col("_line").is_in([5, 6, 8])
    assert new["_line"].to_list() == [4, 5, 6, 7, 8]
    assert new.filter(others).equals(old.filter(others))
    cells = new.filter(~others).drop("_line", "_raw", "_shape_ok").select(pl.col(pl.String).fill_null(""))
    assert [set(values) for values in cells.rows()] == [{"", "ERASED"}] * 2
    assert cells["nik"].to_list() == ["ERASED", "ERASED"]
    assert rewrite(made, "a.xlsx", contract, 5, PERSONS, again) == ()
    assert again.read_bytes() == made.read_bytes()
    # Another reader opens it, if it opens what was sent, and sees the same.
    if opens(path):
        seen = CalamineWorkbook.from_path(str(made)).get_sheet_by_name("Data").to_python()
        assert [row[NIK] for row in seen if row[0] in ("R-2", "R-3", "R-5")] == [STAYS] * 3
    return made


def opens(path: Path) -> bool:
    """Whether the other reader knows it for a workbook."""
    try:
        CalamineWorkbook.from_path(str(path))
    except CalamineError:
        return False
    return True


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_rows_become_tombstones_and_shared_strings_keep_their_numbers(tmp_path: Path) -> None:
    content = workbook(lambda book: None)
    made = parts(rewritten(tmp_path, content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        before = archive.read("xl/sharedStrings.xml")
    counts = [len(re.findall(rb"<si>", xml)) for xml in (before, made["xl/sharedStrings.xml"])]
    assert counts[0] == counts[1]
    assert b"PASAR" in made["xl/sharedStrings.xml"]  # of other rows too
    assert b"R-4" not in made["xl/sharedStrings.xml"]


def test_other_sheets_properties_comments_links_and_names_lose_the_person(tmp_path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        data = book.get_worksheet_by_name("Data")
        book.set_properties({"author": NAME, "comments": f"tentang {GONE}", "title": "Laporan"})
        book.set_custom_property("pemilik", NAME)
        book.define_name("Nama", f'="{NAME}"')
        data.write_comment("B5", f"telepon {NAME}?")
        data.write_comment("B6", f"lihat {STREET}")
        data.write_url("AE1", "mailto:hilang@contoh.id", string="surel")
        hidden = book.add_worksheet("Lama")
        hidden.write_row(0, 0, ["lama", GONE, "Jalan Lain 1"])
        hidden.write_row(1, 0, ["baru", STAYS, "Jalan Lain 2"])
        hidden.hide()
        rich = book.add_worksheet("Catatan")
        bold = book.add_format({"bold": True})
        rich.write_rich_string("A1", "Orang ", bold, "Hilang", " datang")
        rich.write_string("A2", "tetap")
        rich.write_number("B9", float(12345))

    made = rewritten(tmp_path, workbook(fill))
    lama = CalamineWorkbook.from_path(str(made)).get_sheet_by_name("Lama").to_python()
    assert lama[-1] == ["baru", STAYS, "Jalan Lain 2"]
    together = b"".join(parts(made).values())
    for text in (b"Jalan Lain 1", b"Hilang", b"Kenangan"):
        assert text not in together
    for text in (b"Jalan Lain 2", b"tetap", b"12345", b"Laporan"):
        assert text in together


def changed(content: bytes, change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(*change(name, old.read(name)))
    return stream.getvalue()


def in_runs(name: str, xml: bytes) -> tuple[str, bytes]:
    """The NIK in two runs, one digit as a reference to a character, and the name escaped as spreadsheets do."""
    if name == "xl/sharedStrings.xml":
        half = b"<si><r><t>11710112</t></r><r><t>0390900&#49;</t></r></si>"
        xml = xml.replace(f"<si><t>{GONE}</t></si>".encode(), half).replace(
            b"Orang Hilang", b"Orang_x0020_Hil_x0061_ng"
        )
    return name, xml


def prefixed(name: str, xml: bytes) -> tuple[str, bytes]:
    if name in ("xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"):
        xml = re.sub(rb"<(/?)(\w+)([ >/])", rb"<\1x:\2\3", xml).replace(b"xmlns=", b"xmlns:x=")
    return name, xml


def utf_16(name: str, xml: bytes) -> tuple[str, bytes]:
    if name in ("xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "docProps/core.xml"):
        xml = xml.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16")
    return name, xml


def unnumbered(name: str, xml: bytes) -> tuple[str, bytes]:
    """Rows without their numbers, which their cells have."""
    if name == "xl/worksheets/sheet1.xml":
        xml = re.sub(rb'<row r="\d+"', b"<row", xml)
    return name, xml


@pytest.mark.parametrize("change", [in_runs, prefixed, utf_16, unnumbered, elsewhere])
def test_however_the_package_is_written(tmp_path: Path, change: Callable[[str, bytes], tuple[str, bytes]]) -> None:
    rewritten(tmp_path, changed(workbook(lambda book: book.set_properties({"author": NAME})), change))


def test_parts_that_are_no_xml_are_emptied(tmp_path: Path) -> None:
    stream = io.BytesIO(workbook(lambda book: None))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("xl/vbaProject.bin", b"\0\1" + NAME.encode("utf-16-le"))
        archive.writestr("xl/media/image1.png", b"\x89PNG of nobody")
        archive.writestr("docProps/thumbnail.jpeg", b"\xff\xd8 a picture of the first rows")
    made = parts(rewritten(tmp_path, stream.getvalue()))
    assert (made["xl/vbaProject.bin"], made["docProps/thumbnail.jpeg"]) == (b"", b"")
    assert made["xl/media/image1.png"] == b"\x89PNG of nobody"
