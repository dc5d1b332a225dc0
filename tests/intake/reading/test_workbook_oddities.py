"""Workbooks that Excel opens although no library writes them so, and cells that spreadsheets have spoilt."""

from collections.abc import Callable
from typing import Any

import pytest

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import load_contract

from .conftest import TARGET_WIRES, Reader, Result, rejected
from .packages import (
    OFFICE,
    ROW,
    SHEET,
    STRICT_MAIN,
    STRICT_OFFICE,
    STRINGS,
    STYLES,
    book,
    column,
    inline,
    parts,
    relations,
    row,
    sheet,
    zipped,
)

DATA = {"Data": sheet(row())}


@pytest.fixture
def read_book(read_bytes: Reader) -> Reader:
    def reader(content: bytes, **options: Any) -> Result:
        return read_bytes(content, **{"name": "target.xlsx", **options})

    return reader


@pytest.fixture
def read_cell(read_book: Reader) -> Callable[..., str | None]:
    """What the cell of the XML `cell` reads as in column `name` of `feed`."""

    def reader(cell: str, name: str, feed: str = "pendaftaran", **options: Any) -> str | None:
        columns = load_contract(feed).columns
        head = "".join(inline(one.wire) for one in columns)
        body = "".join(cell if one.name == name else inline("x") for one in columns)
        data = f"<worksheet><sheetData><row>{head}</row><row>{body}</row></sheetData></worksheet>"
        return read_book(zipped(parts({"Data": data}, **options)), feed=feed).column(name)[0]

    return reader


@pytest.mark.parametrize("reference", ["A0:AA2", "A1", "", "A1:XFD1048576", "E2:A1", "B7", "kosong"])
def test_a_wrong_dimension_is_ignored(read_book: Reader, reference: str) -> None:
    assert read_book(book(row(), before=f'<dimension ref="{reference}"/>')).cells == [ROW]


def test_parts_are_found_by_their_relationships(read_book: Reader) -> None:
    strings = ["<t>KC001</t>"]
    given = parts({"Data": sheet(row('<c t="s"><v>0</v></c>'))}, strings=strings)
    elsewhere = {
        "_rels/.rels": relations([("a", f"{OFFICE}/officeDocument", "/Isi/Buku.xml")]),
        "Isi/Buku.xml": given["xl/workbook.xml"],
        "Isi/_rels/Buku.xml.rels": relations(
            [
                ("rId1", f"{OFFICE}/worksheet", "../lembar%201.xml"),
                ("s", f"{OFFICE}/sharedStrings", "./kata/semua.xml"),
            ]
        ),
        "lembar 1.xml": given[SHEET],
        "Isi/kata/semua.xml": given[STRINGS],
    }
    assert read_book(zipped(elsewhere)).cells == [ROW]


def test_backslashes_and_other_case(read_book: Reader) -> None:
    given = parts(DATA)
    given["_rels/.rels"] = relations([("a", f"{OFFICE}/officeDocument", "xl\\Workbook.XML")])
    given["xl/_rels/workbook.xml.rels"] = relations([("rId1", f"{OFFICE}/worksheet", "\\xl\\Worksheets\\Sheet1.xml")])
    content = zipped({name.replace("/", "\\").upper(): text for name, text in given.items()})
    assert read_book(content).cells == [ROW]


def test_without_the_relationships_of_the_package(read_book: Reader) -> None:
    given = parts(DATA)
    del given["_rels/.rels"]
    assert read_book(zipped(given)).cells == [ROW]


def test_strict_namespaces(read_book: Reader) -> None:
    strict = sheet(row(), main=STRICT_MAIN)
    assert read_book(zipped(parts({"Data": strict}, main=STRICT_MAIN, office=STRICT_OFFICE))).cells == [ROW]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_of_parts(read_book: Reader, encoding: str) -> None:
    given = parts({"Data": sheet(row("Kantor Añar"))})
    content = zipped({name: str(text).encode(encoding) for name, text in given.items()})
    assert read_book(content).cells == [("Kantor Añar", *ROW[1:])]


def test_comments_and_instructions_between_and_within_cells(read_book: Reader) -> None:
    odd = sheet(row("<c t='inlineStr'><is><t>KC<!-- c -->0<?p i?>01</t></is></c>"), before="<!-- <row> --><?p <c> ?>")
    assert read_book(zipped(parts({"Data": odd}))).cells == [ROW]


def test_rich_text_without_its_phonetic_hints(read_book: Reader) -> None:
    runs = '<r><rPr><b/></rPr><t>KC</t></r><r><t xml:space="preserve">001</t></r>'
    hint = '<rPh sb="0" eb="1"><t>kei</t></rPh><phoneticPr fontId="1"/>'
    shared = book(row('<c t="s"><v>0</v></c>'), strings=[runs + hint])
    assert read_book(shared).cells == [ROW]
    assert read_book(book(row(f'<c t="inlineStr"><is>{runs}{hint}</is></c>'))).cells == [ROW]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('<c t="str"><f>A1</f><v>KC001</v></c>', "KC001"),
        ('<c t="str"><f>A1&amp;"x"</f></c>', ""),
        ("<c><f>1+1</f><v>2</v></c>", "2"),
        ('<c t="b"><v>1</v></c>', "TRUE"),
        ('<c t="b"><v>0</v></c>', "FALSE"),
        ('<c t="n"><v> 7 </v></c>', "7"),
        ('<c t="d"><v>2023-12-11T00:00:00</v></c>', "2023-12-11T00:00:00"),
        ('<c t="str"><v>baris_x000D_\n_x0009_baru</v></c>', "baris\r\n\tbaru"),
        ('<c t="str"><v>_x005F_x000D_</v></c>', "_x000D_"),
        ('<c t="str"><v>_xD83D__xDE00_</v></c>', "\U0001f600"),
        ('<c t="str"><v>a_xD83D_b_x0000_</v></c>', "a\ufffdb\ufffd"),
        ('<c t="str"><v xml:space="preserve">  a </v></c>', "  a "),
        ("<c><v>kata</v></c>", "kata"),
        ("<c><v>1_000</v></c>", "1_000"),
        ("<c><v>1e400</v></c>", "1e400"),
        ("<c><v>NaN</v></c>", "NaN"),
        ("<c><v>-INF</v></c>", "-INF"),
    ],
)
def test_kinds_of_cells(read_cell: Callable[..., str | None], cell: str, text: str) -> None:
    for name in ("kpj", "full_name"):
        assert read_cell(cell, name) == text


@pytest.mark.parametrize("name", ["declared_income", "months_covered", "birth_date", "updated_at", "nik", "kpj"])
@pytest.mark.parametrize("number", ["1e400", "-1e308", "1e-300", "NaN", "9" * 400, "-1", "2958466", "1e15"])
def test_no_number_is_too_much(read_cell: Callable[..., str | None], name: str, number: str) -> None:
    for style in ("", ' s="1"', ' s="2"'):
        styles = '<cellXfs><xf/><xf numFmtId="22"/><xf numFmtId="46"/></cellXfs>'
        assert read_cell(f"<c{style}><v>{number}</v></c>", name, styles=styles)


ERRORS = ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#GETTING_DATA"]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", ["registration_no", "full_name", "birth_date", "declared_income", "nik"])
def test_every_error_cell_arrives(read_cell: Callable[..., str | None], error: str, name: str) -> None:
    assert read_cell(f'<c t="e"><f>1/0</f><v>{error}</v></c>', name) == error


@pytest.mark.parametrize("error", ["#BLOCKED!", "", "Budi"])
def test_an_error_cell_of_another_name_is_an_error(read_cell: Callable[..., str | None], error: str) -> None:
    assert read_cell(f'<c t="e"><v>{error}</v></c>', "full_name") == "#VALUE!"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1.23E10", "12300000000"),
        ("123456789012345", "123456789012345"),
        ("999999999999999", "999999999999999"),
        ("1000000000000000", "1.00000000000E+15"),
        ("2.023121100012346e+16", "2.02312110001E+16"),
        ("20231211000123456", "2.02312110001E+16"),
        ("0.00001", "0.00001"),
        ("31.72", "31.72"),
        ("-5", "-5"),
    ],
)
def test_numbers_for_keys_and_codes(read_cell: Callable[..., str | None], number: str, text: str) -> None:
    for name in ("registration_no", "activity_code", "district_code", "channel_code"):
        assert read_cell(f"<c><v>{number}</v></c>", name) == text


FORMATS = [
    ("14", None, "2023-12-11T06:00:00"),
    ("22", None, "2023-12-11T06:00:00"),
    ("46", None, "1086510:00"),
    ("164", "dd\\-mmm\\-yyyy;@", "2023-12-11T06:00:00"),
    ("165", "[$-421]dd mmmm yyyy", "2023-12-11T06:00:00"),
    ("166", "[h]:mm", "1086510:00"),
    ("167", '0.00" hari"', "45271.25"),
    ("168", "[Red]#,##0_);[Blue](#,##0)", "45271.25"),
    ("169", "General", "45271.25"),
    ("170", "0.00E+00", "45271.25"),
    ("2", None, "45271.25"),
    ("9" * 30, None, "45271.25"),
]


@pytest.mark.parametrize(("number", "code", "text"), FORMATS)
def test_formats_of_dates(read_cell: Callable[..., str | None], number: str, code: str | None, text: str) -> None:
    custom = f"<numFmts><numFmt numFmtId='{number}' formatCode='{code}'/></numFmts>" if code else ""
    styles = (
        f'{custom}<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf/><xf numFmtId="{number}"/></cellXfs>'
    )
    cell = '<c s="1"><v>45271.25</v></c>'
    assert read_cell(cell, "work_place", styles=styles) == text
    assert read_cell(cell, "updated_at", styles=styles) == "2023-12-11T06:00:00"


def test_the_date_system_of_1904(read_cell: Callable[..., str | None]) -> None:
    for value in ("1", "true"):
        properties = f'<workbookPr date1904="{value}"/>'
        assert read_cell("<c><v>43809</v></c>", "birth_date", properties=properties) == "2023-12-11"


def test_formats_are_not_needed(read_book: Reader) -> None:
    assert read_book(book(row('<c s="7"><v>45261</v></c>', '<c s="7"><v>45261</v></c>'))).cells == [
        ("45261", "2023-12", "10", "20", "30")
    ]


def test_rows_of_nothing_that_can_be_seen_are_blank(read_book: Reader) -> None:
    unseen = [inline("\u200b"), inline(" \u00a0"), inline("\ufeff \u00ad"), inline("\u2060\t"), inline("\u200d")]
    result = read_book(book("".join(unseen), row() + "".join(unseen), "".join(unseen)))
    assert result.cells == [ROW]
    assert result.lines == [3]


def test_a_cell_far_out_is_a_row_of_another_shape(read_book: Reader) -> None:
    result = read_book(book(row(), '<c r="XFD3"><v>1</v></c>'))
    assert result.column("_shape_ok") == [True, False]


@pytest.mark.parametrize(
    "cell", ['<c r="XFE2"><v>1</v></c>', '<c r="AAAAAAA2"><v>1</v></c>', '<c r="$A$2"><v>1</v></c>']
)
def test_a_cell_that_no_sheet_has_is_unreadable(read_book: Reader, cell: str) -> None:
    with pytest.raises(SliceRejected, match="UNREADABLE"):
        read_book(book(cell))


def test_rows_twice_are_unreadable(read_book: Reader) -> None:
    twice = sheet(row()).replace("</sheetData>", f'<row r="2">{row()}</row></sheetData>')
    with pytest.raises(SliceRejected, match="UNREADABLE: the rows of a sheet are not in their order"):
        read_book(zipped(parts({"Data": twice})))


def test_a_cell_twice_holds_what_came_last(read_book: Reader) -> None:
    cells = row() + inline("KC009", "A2")
    assert read_book(book(cells)).cells == [("KC009", *ROW[1:])]


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_visible_sheets_come_before_hidden_ones(read_book: Reader, state: str) -> None:
    sheets = {"Lama": sheet(row("KC009")), "Baru": sheet(row())}
    result = read_book(zipped(parts(sheets, states={"Lama": state})))
    assert result.cells == [ROW]
    assert (result.reading.dialect.sheet, result.reading.other_sheets) == ("Baru", [])


def test_a_hidden_sheet_is_read_when_no_visible_one_fits(read_book: Reader) -> None:
    sheets = {"Petunjuk": "<worksheet/>", "Satu": sheet(row()), "Dua": sheet(row("KC009"))}
    result = read_book(zipped(parts(sheets, states={"Satu": "hidden", "Dua": "hidden"})))
    assert result.cells == [ROW]
    assert (result.reading.dialect.sheet, result.reading.other_sheets) == ("Satu", [])


def test_other_visible_sheets_that_fit_are_reported(read_book: Reader) -> None:
    sheets = {"A": "<worksheet/>", "B": sheet(row()), "C": sheet(row("KC009")), "D": sheet(row()), "E": sheet()}
    result = read_book(zipped(parts(sheets, states={"D": "hidden"})))
    assert result.cells == [ROW]
    assert (result.reading.dialect.sheet, result.reading.other_sheets) == ("B", ["C", "E"])


def test_the_order_is_that_of_the_tabs(read_book: Reader) -> None:
    given = parts({"Satu": sheet(row()), "Dua": sheet(row("KC009"))})
    listed = str(given["xl/workbook.xml"]).replace('r:id="rId1"', 'r:id="x"').replace('r:id="rId2"', 'r:id="rId1"')
    given["xl/workbook.xml"] = listed.replace('r:id="x"', 'r:id="rId2"')
    assert read_book(zipped(given)).cells == [("KC009", *ROW[1:])]


def test_a_sheet_that_is_not_there_is_unreadable(read_book: Reader) -> None:
    for missing in (SHEET, "xl/_rels/workbook.xml.rels"):
        given = parts(DATA)
        del given[missing]
        with pytest.raises(SliceRejected, match="UNREADABLE"):
            read_book(zipped(given))


def test_other_documents_are_no_workbooks(read_book: Reader) -> None:
    document = {
        "_rels/.rels": relations([("a", f"{OFFICE}/officeDocument", "word/document.xml")]),
        "word/document.xml": "<document/>",
    }
    with pytest.raises(SliceRejected, match=r"UNREADABLE: a zip archive, but not an \.xlsx workbook"):
        read_book(zipped(document))


def test_escapes_in_names_of_columns(read_book: Reader) -> None:
    head = "".join(inline(wire) for wire in [*TARGET_WIRES, "lain_x0000__xD800_", "tgl_x000D_baru"])
    data = f"<worksheet><sheetData><row>{head}</row><row>{row()}</row></sheetData></worksheet>"
    result = read_book(zipped(parts({"Data_x0000_": data})))
    assert result.cells == [ROW]
    assert result.reading.extra_columns == ["lain\ufffd\ufffd", "tgl\rbaru"]
    assert result.reading.dialect.sheet == "Data\ufffd"


def test_columns_have_letters(read_book: Reader) -> None:
    assert [column(number) for number in (0, 25, 26, 701, 702, 16383)] == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]
    wide = sheet(row() + inline("x", f"{column(1999)}2"))
    assert rejected(read_book, zipped(parts({"Data": wide}))) is None


def test_styles_of_every_kind_but_dates_are_passed_over(read_book: Reader) -> None:
    given = parts(DATA, styles="<fonts>" + "<font/>" * 100_000 + "</fonts>")
    assert STYLES in given
    assert read_book(zipped(given)).cells == [ROW]
