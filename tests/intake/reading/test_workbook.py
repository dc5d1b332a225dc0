"""Workbooks as branches send them; written by XlsxWriter or openpyxl, some edited by hand into what Excel can do."""

import io
import random
import re
import zipfile
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from typing import Any

import openpyxl
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import load_contract

from .conftest import TARGET_WIRES, Reader, Result, rejected

ROWS = [("KC001", "2023-12", "10", "20", "30"), ("KC002", "2024-01", "11", "21", "31")]
FORMATS = {datetime: "dd/mm/yyyy hh:mm:ss", date: "dd/mm/yyyy", time: "hh:mm", timedelta: "[h]:mm"}


def workbook(rows: Iterable[Iterable[Any]], write: Callable[..., None] = lambda *_: None, **options: Any) -> bytes:
    """A workbook of one sheet. `write(book, sheet)` adds what rows cannot say."""
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, options) as book:
        sheet = book.add_worksheet("Data")
        formats = {kind: book.add_format({"num_format": text}) for kind, text in FORMATS.items()}
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                sheet.write(number, column, value, formats.get(type(value)))
        write(book, sheet)
    return content.getvalue()


def table(*rows: Iterable[Any]) -> list[Iterable[Any]]:
    return [TARGET_WIRES, *rows]


def edited(content: bytes, member: str, edit: Callable[[str], str]) -> bytes:
    """`content` with one member of the package changed."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(name, edit(text.decode()) if name == member else text)
    return changed.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


@pytest.fixture
def read_book(read_bytes: Reader) -> Reader:
    def reader(content: bytes, **options: Any) -> Result:
        return read_bytes(content, **{"name": "target.xlsx", **options})

    return reader


@pytest.fixture
def read_cell(read_book: Reader) -> Callable[..., str | None]:
    """What `value`, written into column `name` of `feed`, reads as."""

    def reader(value: Any, name: str, feed: str = "pendaftaran", **options: Any) -> str | None:
        columns = load_contract(feed).columns
        values = [value if column.name == name else "x" for column in columns]
        content = workbook([[column.wire for column in columns], values], **options)
        return read_book(content, name=f"{feed}.xlsx", feed=feed).column(name)[0]

    return reader


def test_plain_workbook(read_book: Reader) -> None:
    result = read_book(workbook(table(*ROWS)))
    assert result.cells == ROWS
    assert result.lines == [2, 3]
    assert result.column("_raw") == ["\t".join(row) for row in ROWS]
    assert (result.reading.format, result.reading.dialect.sheet, result.reading.dialect.header_line) == (
        "xlsx",
        "Data",
        1,
    )


def test_openpyxl_workbook(read_book: Reader) -> None:
    book = openpyxl.Workbook()
    for row in table(*ROWS, ("KC003", date(2024, 2, 1), 12, 22.0, 32)):
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    result = read_book(content.getvalue())
    assert result.cells == [*ROWS, ("KC003", "2024-02", "12", "22", "32")]


def test_bytes_count_more_than_the_name(read_book: Reader) -> None:
    assert read_book(workbook(table(*ROWS)), name="target.csv").reading.format == "xlsx"


def test_first_sheet_with_a_header(read_book: Reader) -> None:
    def more(book: Any, sheet: Any) -> None:
        sheet.write(0, 0, "Ringkasan")
        book.add_worksheet("Kosong")
        chart = book.add_chart({"type": "line"})
        chart.add_series({"values": "=Data!$A$1:$A$2"})
        book.add_chartsheet("Grafik").set_chart(chart)
        for name, row in (("Isi", ROWS[0]), ("Lagi", ROWS[1])):
            sheet = book.add_worksheet(name)
            sheet.write_row("A1", TARGET_WIRES)
            sheet.write_row("A2", row)

    result = read_book(workbook([], more))
    assert result.cells == ROWS[:1]
    assert result.reading.dialect.sheet == "Isi"


def test_titles_merged_titles_and_blank_rows_above_the_header(read_book: Reader) -> None:
    content = workbook(
        [["Laporan"], [], [" "], ["Cabang", "KC001"], [], [date(2023, 12, 11)], ["b", 1.5, True], [], *table(*ROWS)],
        lambda book, sheet: sheet.merge_range("A2:E3", "Target 2023"),
    )
    result = read_book(content)
    assert result.cells == ROWS
    assert result.reading.dialect.header_line == 9
    assert result.lines == [10, 11]


def test_six_titles_are_too_many(read_book: Reader) -> None:
    with pytest.raises(SliceRejected, match="HEADER"):
        read_book(workbook([["x"]] * 6 + table(*ROWS)))


def test_table_that_starts_to_the_right(read_book: Reader) -> None:
    assert read_book(workbook([[None, None, *row] for row in table(*ROWS)])).cells == ROWS


def test_columns_in_any_order_and_extra_columns(read_book: Reader) -> None:
    rows = [[*reversed(list(row)), extra] for row, extra in zip(table(*ROWS), ["Catatan Lain", "x", None], strict=True)]
    result = read_book(workbook(rows))
    assert result.cells == ROWS
    assert result.reading.extra_columns == ["Catatan Lain"]


def test_missing_and_repeated_columns_are_rejected(read_book: Reader) -> None:
    with pytest.raises(SliceRejected, match="HEADER: required columns are missing: target_iuran"):
        read_book(workbook([row[:4] for row in map(list, table(*ROWS))]))
    with pytest.raises(SliceRejected, match="HEADER: column bulan comes twice"):
        read_book(workbook([[*TARGET_WIRES, "BULAN"]]))
    with pytest.raises(SliceRejected, match="HEADER: no line"):
        read_book(workbook([]))


def test_header_only_gives_no_rows(read_book: Reader) -> None:
    assert read_book(workbook(table()), expected_rows=0).frame.height == 0


def test_nothing_at_all_is_valid_when_no_rows_are_announced(read_book: Reader) -> None:
    assert read_book(b"", expected_rows=0).frame.height == 0
    with pytest.raises(SliceRejected, match="HEADER"):
        read_book(b"", expected_rows=1)


def test_empty_rows_are_no_rows(read_book: Reader) -> None:
    content = workbook(
        table(ROWS[0], [], ["", " ", None], ROWS[1], [" "]),
        lambda book, sheet: [sheet.write_blank(row, 3, None, book.add_format({"bold": True})) for row in range(6, 900)],
    )
    result = read_book(content)
    assert result.cells == ROWS
    assert result.lines == [2, 5]


def test_formats_down_to_the_last_row_and_column(read_book: Reader) -> None:
    def more(book: Any, sheet: Any) -> None:
        bold = book.add_format({"bold": True})
        sheet.write_blank(1_048_575, 16_383, None, bold)

    assert read_book(workbook(table(*ROWS), more)).cells == ROWS


def test_short_rows_are_empty_at_the_end(read_book: Reader) -> None:
    result = read_book(workbook(table(["KC001", "2023-12"])))
    assert result.cells == [("KC001", "2023-12", "", "", "")]
    assert result.column("_shape_ok") == [True]


def test_more_filled_cells_than_the_header_are_row_shape(read_book: Reader) -> None:
    result = read_book(workbook(table([*ROWS[0], " "], [*ROWS[1], None, "x"])))
    assert result.column("_shape_ok") == [True, False]
    assert result.cells == [ROWS[0], (None,) * 5]
    assert result.column("_raw")[1] == "\t".join([*ROWS[1], "", "x"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("teks  ", "teks  "),
        ("'3172", "'3172"),
        ("baris\nbaru", "baris\nbaru"),
        (12345678901, "12345678901"),
        (123456789012345, "123456789012345"),
        (-5.0, "-5"),
        (31.72, "31.72"),
        (0.1 + 0.2, "0.3"),
        (True, "TRUE"),
        (False, "FALSE"),
        (date(2023, 12, 11), "2023-12-11"),
        (datetime(2023, 12, 11, 10, 30, 15), "2023-12-11T10:30:15"),
        (time(7, 5), "07:05"),
        (timedelta(hours=7, minutes=5), "07:05"),
    ],
)
def test_cells_of_text_and_code_columns(read_cell: Callable[..., str | None], value: Any, text: str) -> None:
    for name in ("kpj", "work_start", "channel_code"):
        assert read_cell(value, name) == text


def test_identifiers_of_more_digits_than_a_sheet_keeps_are_lost(read_cell: Callable[..., str | None]) -> None:
    value = 1234567890123456
    assert [read_cell(value, name) for name in ("kpj", "channel_code")] == ["1.23456789012E+15"] * 2
    assert read_cell(value, "work_start") == str(value)


def test_times_that_a_fraction_of_a_day_cannot_hold_exactly(read_cell: Callable[..., str | None]) -> None:
    for minute in range(0, 24 * 60, 97):
        moment = time(minute // 60, minute % 60)
        assert read_cell(moment, "work_end") == f"{moment:%H:%M}"


@pytest.mark.parametrize("nik", [3172061212909001, 3172061212900000, 317206121290901, 0, 3.17206e15])
def test_number_for_a_nik_is_scientific(read_cell: Callable[..., str | None], nik: float) -> None:
    text = read_cell(nik, "nik")
    assert re.fullmatch(r"\d\.\d{11}E\+\d\d", text)
    assert float(text) == pytest.approx(nik, rel=1e-10)


def test_text_for_a_nik_is_text(read_cell: Callable[..., str | None]) -> None:
    assert read_cell("3172061212909001", "nik") == "3172061212909001"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1500000, "1500000"),
        (1500000.0, "1500000"),
        (-3, "-3"),
        (1500.123, "1500.1230"),
        (1.5, "1.5000"),
        (1500000.0000000002, "1500000"),
        (1e15, "1000000000000000"),
        ("1.500.000", "1.500.000"),
        ("Rp 1.500.000,00", "Rp 1.500.000,00"),
    ],
)
def test_cells_of_amounts_and_counts(read_cell: Callable[..., str | None], value: Any, text: str) -> None:
    for name in ("declared_income", "months_covered"):
        assert read_cell(value, name) == text


@pytest.mark.parametrize(
    ("value", "day", "moment"),
    [
        (date(2023, 12, 11), "2023-12-11", "2023-12-11"),
        (datetime(2023, 12, 11), "2023-12-11", "2023-12-11"),
        (datetime(2023, 12, 11, 10, 30, 15), "2023-12-11T10:30:15", "2023-12-11T10:30:15"),
        (45271, "2023-12-11", "2023-12-11"),
        (45271.4376736111, "2023-12-11T10:30:15", "2023-12-11T10:30:15"),
        (45271.9999999, "2023-12-12", "2023-12-12"),
        ("45271", "2023-12-11", "2023-12-11"),
        ("45271.5", "2023-12-11T12:00:00", "2023-12-11T12:00:00"),
        (1, "1900-01-01", "1900-01-01"),
        (59, "1900-02-28", "1900-02-28"),
        (61, "1900-03-01", "1900-03-01"),
        (2958465, "9999-12-31", "9999-12-31"),
        ("11/12/2023", "11/12/2023", "11/12/2023"),
        ("2023", "2023", "2023"),
        (20231211, "20231211", "20231211"),
        (0.25, "0.25", "0.25"),
        (-1, "-1", "-1"),
        (True, "TRUE", "TRUE"),
        (time(7, 5), "07:05", "07:05"),
    ],
)
def test_cells_of_dates(read_cell: Callable[..., str | None], value: Any, day: str, moment: str) -> None:
    assert read_cell(value, "birth_date") == day
    assert read_cell(value, "updated_at") == moment


def test_serials_of_the_1904_date_system(read_cell: Callable[..., str | None]) -> None:
    for value in (43809, date(2023, 12, 11)):
        assert read_cell(value, "birth_date", date_1904=True) == "2023-12-11"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2023, 12, 1), "2023-12"),
        (datetime(2023, 12, 1), "2023-12"),
        (45261, "2023-12"),
        (date(2023, 12, 2), "2023-12-02"),
        (datetime(2023, 12, 1, 8), "2023-12-01T08:00:00"),
        ("2023-12", "2023-12"),
    ],
)
def test_cells_of_months(read_cell: Callable[..., str | None], value: Any, text: str) -> None:
    assert read_cell(value, "month", "target") == text


def test_error_cells_hold_their_text(read_book: Reader) -> None:
    def errors(book: Any, sheet: Any) -> None:
        sheet.write_formula("D11", "=NA()", None, "#N/A")
        sheet.write_formula("E12", "=1/0", None, "#DIV/0!")

    content = workbook([[]] * 9 + [[None, None, *row] for row in table(*ROWS)], errors)
    result = read_book(content)
    assert result.cells == [("KC001", "#N/A", "10", "20", "30"), ("KC002", "2024-01", "#DIV/0!", "21", "31")]
    assert result.column("_raw")[0] == "KC001\t#N/A\t10\t20\t30"


def test_results_of_formulas(read_book: Reader) -> None:
    content = workbook(
        table(*ROWS),
        lambda book, sheet: [
            sheet.write_formula("E2", "=15+15", None, 30),
            sheet.write_formula("A3", '="KC"&"002"', None, "KC002"),
        ],
    )
    assert read_book(content).cells == ROWS


def test_prefixed_xml_without_references(read_book: Reader) -> None:
    def strip(xml: str) -> str:
        xml = re.sub(r' r="[A-Z]*\d+"', "", xml)
        return re.sub(r"<(/?)(\w)", r"<\1x:\2", xml).replace("xmlns=", "xmlns:x=")

    assert read_book(edited(workbook(table(*ROWS)), SHEET, strip)).cells == ROWS


@pytest.mark.parametrize("reference", ["XFD1048576", "AZ700000"])
def test_far_cell_is_a_row_of_its_own(read_book: Reader, reference: str) -> None:
    line = re.search(r"\d+", reference)[0]

    def far(xml: str) -> str:
        return xml.replace("</sheetData>", f'<row r="{line}"><c r="{reference}"><v>1</v></c></row></sheetData>')

    result = read_book(edited(workbook(table(*ROWS)), SHEET, far))
    assert result.lines == [2, 3, int(line)]
    assert result.column("_shape_ok") == [True, True, False]


def test_row_that_no_sheet_has_is_unreadable(read_book: Reader) -> None:
    def far(xml: str) -> str:
        return xml.replace("</sheetData>", '<row r="4294967295"><c r="A4294967295"><v>1</v></c></row></sheetData>')

    with pytest.raises(SliceRejected, match="UNREADABLE: a sheet has more than 1048576 rows"):
        read_book(edited(workbook(table(*ROWS)), SHEET, far))


def test_far_cells_without_references(read_book: Reader) -> None:
    def far(xml: str) -> str:
        wide = "<row>" + "<c><v>1</v></c>" * 10_000 + "</row>"
        return xml.replace("</sheetData>", wide + "<row/>" * 5_000 + "<row><c><v>1</v></c></row></sheetData>")

    result = read_book(edited(workbook(table(*ROWS)), SHEET, far))
    assert result.lines == [2, 3, 4, 5005]
    assert result.column("_shape_ok") == [True, True, False, True]


def test_workbook_that_unfolds_beyond_proportion(read_book: Reader) -> None:
    content = edited(workbook(table(*ROWS)), SHEET, lambda xml: xml)
    bomb = bytearray(content)
    # The declared length of the sheet in the directory; its name stands 46 bytes behind the entry's beginning.
    entry = bomb.rindex(SHEET.encode()) - 46
    bomb[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")
    with pytest.raises(SliceRejected, match="UNREADABLE: the workbook unfolds"):
        read_book(bytes(bomb))


def test_escaped_nul_spoils_its_cell(read_book: Reader) -> None:
    content = edited(workbook(table(*ROWS)), "xl/sharedStrings.xml", lambda xml: xml.replace("KC001", "KC_x0000_01"))
    assert read_book(content).cells == [("KC\ufffd01", *ROWS[0][1:]), ROWS[1]]


def test_other_bytes_are_unreadable(read_book: Reader) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("target.csv", "kode_kantor;bulan")
    old_or_encrypted = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2_000)
    for content in (b"kode_kantor;bulan\n", old_or_encrypted, archive.getvalue(), b"PK\x03\x04", b"\x1f\x8b"):
        with pytest.raises(SliceRejected, match="UNREADABLE"):
            read_book(content)


def test_truncated_workbook_is_unreadable(read_book: Reader) -> None:
    content = workbook(table(*ROWS))
    for length in range(4, len(content), 61):
        with pytest.raises(SliceRejected, match="UNREADABLE"):
            read_book(content[:length])


def test_damaged_workbook_gives_rows_or_a_rejection(read_book: Reader) -> None:
    content = workbook(table(*ROWS))
    dice = random.Random(20231211)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        assert rejected(read_book, bytes(damaged)) in {None, "UNREADABLE"}


def test_damaged_xml_gives_rows_or_a_rejection(read_book: Reader) -> None:
    content = workbook(table(*ROWS))
    dice = random.Random(20231211)
    for member in (SHEET, "xl/sharedStrings.xml", "xl/workbook.xml", "xl/styles.xml", "xl/_rels/workbook.xml.rels"):
        for _ in range(40):

            def damage(xml: str) -> str:
                place = dice.randrange(len(xml))
                return xml[:place] + dice.choice('<>/"0A9 ') + xml[place + dice.randint(0, 3) :]

            assert rejected(read_book, edited(content, member, damage)) in {None, "UNREADABLE", "HEADER"}


CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(*[CELL] * 5).filter(lambda row: any(cell.strip() for cell in row)), max_size=6),
    titles=st.lists(st.lists(CELL, min_size=1, max_size=3).filter(lambda row: any(c.strip() for c in row)), max_size=5),
    gaps=st.lists(st.integers(0, 2), min_size=12, max_size=12),
)
def test_any_table_of_text_reads_back_the_same(
    read_book: Reader, rows: list[tuple[str, ...]], titles: list[list[str]], gaps: list[int]
) -> None:
    sheet: list[Iterable[str]] = []
    numbers = []
    for row, gap in zip([*titles, TARGET_WIRES, *rows], gaps, strict=False):
        sheet += [[]] * gap + [row]
        numbers.append(len(sheet))
    content = workbook(sheet, strings_to_formulas=False, strings_to_urls=False)
    result = read_book(content)
    assert result.cells == rows
    assert result.lines == numbers[len(titles) + 1 :]
