"""Delimited text as branches write it, one mess a test (Exchange, "What files look like in real life")."""

import gzip
import re

import polars as pl
import pytest

from kkbc.core.errors import SliceRejected
from kkbc.core.settings import PROJECT_ROOT
from kkbc.exchange.contracts import load_contract
from kkbc.intake.reading import read
from kkbc.intake.reading.csv_text import DELIMITERS, MAX_ROW_LINES

from .conftest import TARGET_WIRES, Reader, rejected

HEADER = ";".join(TARGET_WIRES)
ROWS = [("KC001", "2023-12", "10", "20", "30"), ("KC002", "2024-01", "11", "21", "31")]
BODY = "\n".join(";".join(row) for row in ROWS)
PLAIN = f"{HEADER}\n{BODY}\n"


def test_plain_file(read_bytes: Reader) -> None:
    result = read_bytes(PLAIN.encode())
    assert result.cells == ROWS
    assert result.lines == [2, 3]
    assert result.column("_raw") == BODY.split("\n")
    assert result.column("_shape_ok") == [True, True]
    assert result.reading.format == "csv"
    assert (result.reading.dialect.encoding, result.reading.dialect.delimiter) == ("utf-8", ";")
    assert result.reading.dialect.header_line == 1
    assert result.reading.extra_columns == result.reading.missing_columns == []
    assert result.frame.schema == {
        "_line": pl.Int64,
        "_raw": pl.String,
        "_shape_ok": pl.Boolean,
        **{column.name: pl.String for column in load_contract("target").columns},
    }


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_each_delimiter(read_bytes: Reader, delimiter: str) -> None:
    result = read_bytes(PLAIN.replace(";", delimiter).encode())
    assert result.cells == ROWS
    assert result.reading.dialect.delimiter == delimiter


def test_byte_order_mark(read_bytes: Reader) -> None:
    result = read_bytes(PLAIN.encode("utf-8-sig"))
    assert result.cells == ROWS
    assert result.reading.dialect.encoding == "utf-8-sig"


def test_utf8_names(read_bytes: Reader) -> None:
    assert read_bytes(PLAIN.replace("KC001", "Kantor Sé 😀").encode()).cells[0][0] == "Kantor Sé 😀"


def test_windows_1252(read_bytes: Reader) -> None:
    result = read_bytes(PLAIN.replace("KC001", "Café – €5").encode("windows-1252"))
    assert result.cells[0][0] == "Café – €5"
    assert result.reading.dialect.encoding == "windows-1252"


def test_one_bad_byte_makes_the_whole_file_windows_1252(read_bytes: Reader) -> None:
    content = PLAIN.replace("KC001", "é").encode() + b"KC003;2024-01;1;2;\xe9\n"
    assert [row[0] for row in read_bytes(content).cells] == ["Ã©", "KC002", "KC003"]


def test_bad_byte_far_down_a_long_file(read_bytes: Reader) -> None:
    content = PLAIN.encode() + b"KC003;2024-01;1;2;3\n" * 200_000 + b"KC003;2024-01;1;2;\xe9\n"
    result = read_bytes(content, expected_rows=200_003)
    assert result.reading.dialect.encoding == "windows-1252"
    assert result.cells[-1][-1] == "é"


def test_bytes_that_are_not_utf8_behind_a_byte_order_mark_spoil_their_cells_only(read_bytes: Reader) -> None:
    """Exchange rule 31: the file is UTF-8, those cells are not; what is no character is U+FFFD."""
    text = PLAIN.replace("KC002", "é") + 'KC003;"2024-01";"a\xe9b";2;3\n'
    content = b"\xef\xbb\xbf" + text.encode().replace(b"KC001", b"Caf\xe9").replace(b"a\xc3\xa9b", b"a\xe9\x80b")
    result = read_bytes(content)
    assert result.cells == [
        ("Caf\ufffd", *ROWS[0][1:]),
        ("é", *ROWS[1][1:]),
        ("KC003", "2024-01", "a\ufffdb", "2", "3"),
    ]
    assert result.reading.dialect.encoding == "utf-8-sig"


def test_bad_byte_next_to_a_delimiter_takes_no_delimiter_with_it(read_bytes: Reader) -> None:
    for bad in (b"\xe9", b"\xe2\x80", b"\xf0\x9f\x98", b"\xc3"):
        content = b"\xef\xbb\xbf" + PLAIN.encode().replace(b"KC001", b"a" + bad)
        assert read_bytes(content).cells[0] == ("a\ufffd", *ROWS[0][1:])


def test_bytes_that_windows_1252_leaves_undefined(read_bytes: Reader) -> None:
    assert read_bytes(PLAIN.encode().replace(b"KC001", b"\x81\x8d\x8f\x90\x9d")).cells[0][0] == "\x81\x8d\x8f\x90\x9d"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_each_line_end(read_bytes: Reader, line_end: str) -> None:
    result = read_bytes(PLAIN.replace("\n", line_end).encode())
    assert result.cells == ROWS
    assert result.lines == [2, 3]
    assert result.column("_raw") == BODY.split("\n")


def test_no_final_newline(read_bytes: Reader) -> None:
    assert read_bytes(PLAIN.rstrip("\n").encode()).cells == ROWS


def test_blank_lines_are_no_rows(read_bytes: Reader) -> None:
    body = BODY.replace("\n", '\n\n;;;;\n  \n"";"";"";"";""\n;\n')
    result = read_bytes(f"\n\n{HEADER}\n\n{body}\n\n \n".encode())
    assert result.cells == ROWS
    assert result.lines == [5, 11]


def test_quotes_doubled_inside_quotes(read_bytes: Reader) -> None:
    assert read_bytes(PLAIN.replace("KC001", '"PT ""Maju"" Jaya"').encode()).cells[0][0] == 'PT "Maju" Jaya'


def test_quote_in_the_middle_of_an_unquoted_cell(read_bytes: Reader) -> None:
    assert read_bytes(PLAIN.replace("KC001", 'pipa 5" besi').encode()).cells[0][0] == 'pipa 5" besi'


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize(
    ("lost", "fits"),
    [
        # The cells `x`, `"a;b"` with nothing between them: as many cells as the header, and all in the wrong place.
        (['x"a;b"', "1", "2", "3"], False),
        (['x "a;b"', "1", "2", "3"], False),
        (["1", 'x"a;b"', '"c"', "3"], False),
        (["1", "2", "3", 'x"a;b"'], False),
        (['"1"', 'x"a""c;b"', "2", "3"], False),
        (['x"a', 'b"', "1", "2", "3"], False),
        (['5" x 6"', "1", "2", "3", "4"], True),
        (['5" x 6"', '7" x 8"', "2", "3", "4"], True),
        (['5" x 6"', '7" x 8', "2", "3", "4"], True),
        (['pipa 5"', '"a;b"', "1", "2", "3"], True),
        (['5" x 6"', '7" x 8', '9"', "3", "4"], False),
    ],
)
def test_delimiter_lost_before_a_quoted_cell(read_bytes: Reader, delimiter: str, lost: list[str], fits: bool) -> None:
    """Exchange rule 36: a quote in the middle, taken as a quote, must leave the cells where they are."""
    if delimiter == " ":
        lost = [cell.replace(" ", "_") for cell in lost]
    row = delimiter.join(lost).replace("a;b", f"a{delimiter}b").replace("c;b", f"c{delimiter}b")
    result = read_bytes(PLAIN.replace(";", delimiter).encode() + row.encode() + b"\n")
    assert result.column("_shape_ok") == [True, True, fits]
    assert result.column("_raw")[2] == row
    if fits:
        assert result.cells[2] == tuple(
            cell.removeprefix('"').removesuffix('"').replace("a;b", f"a{delimiter}b") if cell[0] == '"' else cell
            for cell in lost
        )


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
@pytest.mark.parametrize("blank", [" ", "   ", "\t", "\xa0", "\u2003", "\ufeff", "\u200b "])
def test_blanks_next_to_delimiters_are_no_part_of_a_cell(read_bytes: Reader, delimiter: str, blank: str) -> None:
    if blank == delimiter:
        return
    around = f"{blank}{delimiter}{blank}"
    header = around.join(f'"{wire}"' for wire in TARGET_WIRES)
    rows = [["KC001", f'"a{delimiter}b"', '"2"', "3", '"4"'], ['"x\ny"', '"say ""no"" "', '" 1"', '""', '"5"']]
    text = "\n".join([header, *(blank + around.join(row) + blank for row in rows)])
    result = read_bytes(text.encode())
    assert result.column("_shape_ok") == [True, True]
    unseen = f"{blank} \t"  # validation takes it off, where the reader has not
    assert [tuple(cell.strip(unseen) for cell in row if cell is not None) for row in result.cells] == [
        ("KC001", f"a{delimiter}b", "2", "3", "4"),
        ("x\ny", 'say "no"', "1", "", "5"),
    ]


def test_line_breaks_and_delimiters_inside_quotes(read_bytes: Reader) -> None:
    result = read_bytes(PLAIN.replace("KC001", '"Jl. A;\r\nRT 01\nRW\r02"').encode())
    assert result.cells[0][0] == "Jl. A;\r\nRT 01\nRW\r02"
    assert result.lines == [2, 6]
    assert result.column("_raw")[0] == '"Jl. A;\r\nRT 01\nRW\r02";2023-12;10;20;30'


def test_cells_stay_as_sent(read_bytes: Reader) -> None:
    assert read_bytes(PLAIN.replace("KC001", "  'KC001 \xa0").encode()).cells[0][0] == "  'KC001 \xa0"


@pytest.mark.parametrize("count", range(6))
def test_title_lines(read_bytes: Reader, count: int) -> None:
    titles = ["sep=;", 'Laporan; "Target";;', "Kantor Cabang, KC001|a\tb", '"Cabang', "Dicetak 11/12/2023;;;;"][:count]
    result = read_bytes("\n".join([*titles, PLAIN]).encode())
    assert result.cells == ROWS
    assert result.lines == [count + 2, count + 3]
    assert result.reading.dialect.header_line == count + 1


def test_blank_lines_among_titles_are_not_counted(read_bytes: Reader) -> None:
    result = read_bytes(("\n;;\n \n".join("abcde") + "\n\n\n" + PLAIN).encode())
    assert result.cells == ROWS


def test_six_titles_are_too_many(read_bytes: Reader) -> None:
    with pytest.raises(SliceRejected, match="HEADER"):
        read_bytes(("a\nb\nc\nd\ne\nf\n" + PLAIN).encode())


def test_title_with_line_breaks_in_quotes_counts_once(read_bytes: Reader) -> None:
    titles = '"Laporan\nTarget\nBulanan";x\n' * 5
    result = read_bytes((titles + PLAIN).encode())
    assert result.cells == ROWS
    assert result.reading.dialect.header_line == 16


def test_unclosed_quote_in_a_title_does_not_hide_the_header(read_bytes: Reader) -> None:
    result = read_bytes(('"Laporan\n' + HEADER + '\nKC001;2023-12;10;20;";"\n').encode())
    assert result.cells == [("KC001", "2023-12", "10", "20", ";")]


def test_header_with_line_breaks_in_quotes(read_bytes: Reader) -> None:
    result = read_bytes(PLAIN.replace("target_peserta_baru", '"Target\nPeserta\r\nBaru"').encode())
    assert result.cells == ROWS
    assert result.lines == [4, 5]
    assert result.reading.dialect.header_line == 1


@pytest.mark.parametrize(
    "spelling",
    ["TARGET_IURAN", "Target Iuran", "target.iuran", "Target-Iuran ", '" target  iuran"', "\ufefftarget iuran\xa0"],
)
def test_header_spellings(read_bytes: Reader, spelling: str) -> None:
    assert read_bytes(PLAIN.replace("target_iuran", spelling).encode()).cells == ROWS


def test_columns_in_any_order(read_bytes: Reader) -> None:
    lines = [";".join(reversed(line.split(";"))) for line in PLAIN.splitlines()]
    assert read_bytes("\n".join(lines).encode()).cells == ROWS


def test_extra_columns_are_drift(read_bytes: Reader) -> None:
    lines = [f"{cell};{line};{cell}" for line, cell in zip(PLAIN.splitlines(), ["Catatan Lain", "x", ""], strict=True)]
    result = read_bytes("\n".join(lines).encode())
    assert result.cells == ROWS
    assert result.reading.extra_columns == ["Catatan Lain", "Catatan Lain"]


def test_unnamed_column_at_the_end(read_bytes: Reader) -> None:
    result = read_bytes(PLAIN.replace("\n", ";\n").encode())
    assert result.cells == ROWS
    assert result.reading.extra_columns == []


def test_missing_optional_column_is_null(read_bytes: Reader) -> None:
    contract = load_contract("kegiatan")
    wires = [column.wire for column in contract.columns if column.required]
    result = read_bytes(f"{';'.join(wires)}\n{';'.join(wires)}\n".encode(), "kegiatan.csv", "kegiatan")
    assert dict(zip([column.name for column in contract.columns], result.cells[0], strict=True)) == {
        column.name: column.wire if column.required else None for column in contract.columns
    }
    assert result.reading.missing_columns == [column.wire for column in contract.columns if not column.required]


def test_missing_required_column_is_rejected(read_bytes: Reader) -> None:
    with pytest.raises(SliceRejected, match="HEADER: required columns are missing: target_iuran"):
        read_bytes(PLAIN.replace(";target_iuran", "").encode())


def test_known_column_twice_is_rejected(read_bytes: Reader) -> None:
    with pytest.raises(SliceRejected, match="HEADER: column bulan comes twice"):
        read_bytes(PLAIN.replace(HEADER, f"{HEADER};Bulan").encode())


def test_no_header_is_rejected(read_bytes: Reader) -> None:
    with pytest.raises(SliceRejected, match="HEADER: no line"):
        read_bytes(BODY.encode())


def test_rejections_quote_nothing_of_the_rows(read_bytes: Reader) -> None:
    with pytest.raises(SliceRejected) as rejected:
        read_bytes(b"nik;nama\n3172061212909001;Budi Rahasia\n")
    assert "3172061212909001" not in str(rejected.value)
    assert "Rahasia" not in str(rejected.value)


def test_more_or_fewer_cells_are_row_shape(read_bytes: Reader) -> None:
    result = read_bytes(f"{PLAIN}KC003;2023-12;1;2\nKC004;2023-12;1;2;3;4\nKC005\n".encode())
    assert result.column("_shape_ok") == [True, True, False, False, False]
    assert result.cells[2:] == [(None,) * 5] * 3
    assert result.column("_raw")[2:] == ["KC003;2023-12;1;2", "KC004;2023-12;1;2;3;4", "KC005"]


def test_only_rows_of_bad_shape(read_bytes: Reader) -> None:
    result = read_bytes(f"{HEADER}\nKC003\n".encode())
    assert result.column("_shape_ok") == [False]
    assert result.cells == [(None,) * 5]


def test_header_only_gives_no_rows(read_bytes: Reader) -> None:
    result = read_bytes(f"{HEADER}\n".encode(), expected_rows=0)
    assert result.frame.height == 0
    assert result.frame.width == 8


def test_nothing_at_all_is_valid_when_no_rows_are_announced(read_bytes: Reader) -> None:
    for content, name in ((b"", "target.csv"), (gzip.compress(b""), "target.csv.gz"), (b"", "target.csv.gz")):
        assert read_bytes(content, name, expected_rows=0).frame.height == 0
        with pytest.raises(SliceRejected, match="HEADER"):
            read_bytes(content, name, expected_rows=1)


@pytest.mark.parametrize("bad", ['"Budi;2023-12;1;2;3', 'KC009;"Budi" Santoso;1;2;3', 'KC009;2023-12;1;2;"', '"'])
def test_broken_quote_spoils_its_own_line_only(read_bytes: Reader, bad: str) -> None:
    """An unclosed quote, or one closed in mid-cell, is ROW_SHAPE of that line; the next lines are read on their own."""
    for tail in (BODY, BODY.replace("KC002", '"KC002"'), BODY + '\n"KC003";"a\nb";1;2;3'):
        result = read_bytes(f"{HEADER}\n{bad}\n{tail}".encode())
        assert result.column("_shape_ok") == [False] + [True] * (result.frame.height - 1)
        assert result.column("_raw")[0] == bad
        assert result.cells[1:3] == ROWS
        assert result.lines[:3] == [2, 3, 4]


def test_unclosed_quotes_on_many_lines_end_in_time(read_bytes: Reader) -> None:
    count = 5 * MAX_ROW_LINES
    result = read_bytes(f"{HEADER}\n".encode() + b'"a""\n' * count)
    assert result.lines == list(range(2, count + 2))
    assert not any(result.column("_shape_ok"))


def test_very_long_cells(read_bytes: Reader) -> None:
    long = "x" * 3_000_000
    assert read_bytes(PLAIN.replace("KC001", long).encode()).cells[0][0] == long
    assert read_bytes(PLAIN.replace("KC001", f'"{long}"').encode()).cells[0][0] == long


def test_line_without_end_is_unreadable(read_bytes: Reader) -> None:
    with pytest.raises(SliceRejected, match="UNREADABLE: a line is longer"):
        read_bytes(PLAIN.encode() + b"x" * (17 * 2**20))


def test_nul_bytes_are_unreadable(read_bytes: Reader) -> None:
    for content in (PLAIN.replace("KC001", "KC\x0001").encode(), PLAIN.encode("utf-16"), PLAIN.encode() + bytes(512)):
        with pytest.raises(SliceRejected, match=r"UNREADABLE: byte \d+ is NUL"):
            read_bytes(content)


@pytest.mark.parametrize(
    "content", [PLAIN, PLAIN.rstrip("\n"), PLAIN.replace("31", '"31"').rstrip("\n"), PLAIN * 9_000]
)
def test_ctrl_z_at_the_very_end_is_no_row(read_bytes: Reader, content: str) -> None:
    plain, marked = read_bytes(content.encode()), read_bytes(content.encode() + b"\x1a")
    assert marked.frame.equals(plain.frame)
    assert read_bytes(gzip.compress(content.encode() + b"\x1a"), "target.csv.gz").frame.equals(plain.frame)


def test_only_one_ctrl_z_and_only_at_the_end(read_bytes: Reader) -> None:
    result = read_bytes(PLAIN.encode().replace(b"KC001", b"KC\x1a01") + b"\x1a\x1a")
    assert result.cells[0][0] == "KC\x1a01"
    assert result.column("_raw")[2] == "\x1a"
    assert read_bytes(b"\x1a", expected_rows=0).frame.height == 0


def test_lines_of_nothing_that_is_seen_are_blank(read_bytes: Reader) -> None:
    unseen = "\u200b\u200f\u2060\ufeff\xad \xa0\u2003\t\x0c"
    body = BODY.replace("\n", f'\n{unseen}\n{unseen};;{unseen};;\n"{unseen}";"";;;\n')
    result = read_bytes(f"{unseen}\n{HEADER}\n{body}\n".encode())
    assert result.cells == ROWS


@pytest.mark.parametrize("spelling", ["\u200btarget\u200d_iu\xadran\u200e", "\u2060Target\u200b Iuran\u200f"])
def test_characters_that_nobody_sees_are_taken_out_of_names(read_bytes: Reader, spelling: str) -> None:
    assert read_bytes(PLAIN.replace("target_iuran", spelling).encode()).cells == ROWS


@pytest.mark.parametrize("quoted", [False, True])
def test_more_than_2000_columns_are_no_header(read_bytes: Reader, quoted: bool) -> None:
    """Exchange rule 37."""
    for width, reason in ((2000, None), (2001, "HEADER"), (500_000, "HEADER")):
        extra = [f"k{number}" for number in range(width - 5)]
        names = [f'"{name}"' if quoted else name for name in (*TARGET_WIRES, *extra)]
        assert rejected(read_bytes, f"{';'.join(names)}\n{'x;' * (width - 1)}\n".encode()) == reason


def test_names_without_end_are_cut(read_bytes: Reader) -> None:
    result = read_bytes(PLAIN.replace("\n", f";{'x' * 5000}\n").encode())
    assert result.reading.extra_columns == ["x" * 200]


def test_extra_column_with_an_escape_of_spreadsheets(read_bytes: Reader) -> None:
    assert read_bytes(PLAIN.replace("\n", ";a_x0000_b\n").encode()).reading.extra_columns == ["a_x0000_b"]


def test_quotes_left_open_without_end_are_unreadable(read_bytes: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kkbc.intake.reading.csv_text._MAX_READ_AGAIN", 100_000)
    with pytest.raises(SliceRejected, match="UNREADABLE: quotes are left open"):
        read_bytes(f"{HEADER}\n".encode() + (b'"a\n' + b"b\n" * 999) * 5)


def test_blank_lines_without_end_above_the_header(read_bytes: Reader) -> None:
    assert read_bytes(b"\n" * 100_000 + PLAIN.encode()).cells == ROWS
    with pytest.raises(SliceRejected, match="HEADER: more than"):
        read_bytes(b"\n" * 1_100_000 + PLAIN.encode())


def test_what_nobody_thought_of_is_unreadable(read_bytes: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchange rule 38: the kind of the exception, and none of its words."""
    for place in ("read_csv", "open_text"):
        with monkeypatch.context() as patch:

            def fail(*_args: object) -> None:
                raise ValueError("Budi Rahasia")

            patch.setattr(f"kkbc.intake.reading.{place}", fail)
            with pytest.raises(SliceRejected, match="UNREADABLE") as rejection:
                read_bytes(PLAIN.encode())
            assert rejection.value.detail == "the file cannot be read (ValueError)"


def test_gzip(read_bytes: Reader) -> None:
    result = read_bytes(gzip.compress(PLAIN.encode()), "target.csv.gz")
    assert result.cells == ROWS
    assert result.reading.format == "csv.gz"


def test_bytes_count_more_than_the_name(read_bytes: Reader) -> None:
    assert read_bytes(gzip.compress(PLAIN.encode()), "target.csv").reading.format == "csv.gz"
    assert read_bytes(PLAIN.encode(), "TARGET.CSV.GZ").reading.format == "csv"


def test_gzip_in_several_members(read_bytes: Reader) -> None:
    content = PLAIN.encode()
    assert read_bytes(gzip.compress(content[:30]) + gzip.compress(content[30:]), "target.csv.gz").cells == ROWS


def test_truncated_gzip_is_unreadable(read_bytes: Reader) -> None:
    content = gzip.compress(PLAIN.encode())
    for length in range(2, len(content)):
        with pytest.raises(SliceRejected, match="UNREADABLE"):
            read_bytes(content[:length], "target.csv.gz")


def test_corrupt_gzip_is_unreadable(read_bytes: Reader) -> None:
    content = bytearray(gzip.compress(PLAIN.encode()))
    content[-6] ^= 0xFF
    with pytest.raises(SliceRejected, match="UNREADABLE"):
        read_bytes(bytes(content), "target.csv.gz")


def test_gzip_bomb_is_not_unfolded(read_bytes: Reader) -> None:
    bomb = gzip.compress(PLAIN.encode() + b"\n" * (80 * 2**20), 9)
    with pytest.raises(SliceRejected, match="UNREADABLE: gzip unfolds"):
        read_bytes(bomb, "target.csv.gz")


def test_unknown_ending_is_unreadable(read_bytes: Reader) -> None:
    with pytest.raises(SliceRejected, match="UNREADABLE: the name"):
        read_bytes(PLAIN.encode(), "target.txt")


def test_batches_hold_at_most_what_was_asked(tmp_path, target) -> None:
    path = tmp_path / "landed"
    path.write_text(PLAIN + "KC003;2024-01;1;2;3\n" * 4_999)
    for size, heights in ((2_500, [2_500, 2_500, 1]), (50_000, [5_001]), (5_001, [5_001]), (1_667, [1_667] * 3)):
        batches = list(read(path, "target.csv", target, expected_rows=5_001, batch_rows=size).batches)
        assert [batch.height for batch in batches] == heights
        assert pl.concat(batches).get_column("_line").to_list() == list(range(2, 5_003))


def test_long_rows_make_short_batches(tmp_path, target) -> None:
    path = tmp_path / "landed"
    long = "x" * 2**20
    for cell in (long, f'"{long}"'):
        path.write_text(f"{HEADER}\n" + f"{cell};2024-01;1;2;3\n" * 40)
        batches = list(read(path, "target.csv", target, expected_rows=40).batches)
        assert [batch.height for batch in batches] == [8, 8, 8, 8, 8]


def test_no_group_is_repeated_possessively() -> None:
    """Python 3.11.0 to 3.11.4 loses matches of it (gh-106052); an atomic group around the repetition does the same."""
    modules = list((PROJECT_ROOT / "plugins").rglob("*.py"))
    assert len(modules) > 100
    found = [f"{path.name}: {hit}" for path in modules for hit in re.findall(r".*\)[*+?]\+.*", path.read_text())]
    assert not found
