"""JSON lines as branches write them (Exchange rule 19)."""

import gzip
import io
import json
import random
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import load_contract

from .conftest import TARGET_WIRES, Reader, rejected

ROWS = [("KC001", "2023-12", "10", "20", "30"), ("KC002", "2024-01", "11", "21", "31")]


def lines(*rows: tuple[str | None, ...]) -> str:
    return "".join(json.dumps(dict(zip(TARGET_WIRES, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)


def line(**values: str) -> str:
    """One object of the target feed; `values` are JSON literals that stand for those of the first row."""
    literals = {wire: json.dumps(value) for wire, value in zip(TARGET_WIRES, ROWS[0], strict=True)} | values
    return "{" + ",".join(f'"{wire}":{literal}' for wire, literal in literals.items()) + "}\n"


@pytest.fixture
def read_lines(read_bytes: Reader) -> Reader:
    def reader(content: str, **options: object):
        return read_bytes(content.encode(), **{"name": "target.jsonl", **options})

    return reader


def test_plain_file(read_lines: Reader) -> None:
    result = read_lines(lines(*ROWS))
    assert result.cells == ROWS
    assert result.lines == [1, 2]
    assert result.column("_raw") == lines(*ROWS).splitlines()
    assert result.reading.format == "jsonl"
    assert result.reading.extra_columns == result.reading.missing_columns == []


def test_gzip_byte_order_mark_and_windows_1252(read_bytes: Reader) -> None:
    text = lines(("é", "2023-12", "1", "2", "3"))
    for encoding in ("utf-8", "utf-8-sig", "windows-1252"):
        result = read_bytes(gzip.compress(text.encode(encoding)), "target.jsonl.gz")
        assert result.cells[0][0] == "é"
        assert result.reading.format == "jsonl.gz"
        assert result.reading.dialect.encoding == encoding


def test_line_ends_and_blank_lines(read_lines: Reader) -> None:
    text = "\n" + lines(*ROWS).replace("\n", "\r\n \r\n").rstrip()
    result = read_lines(text)
    assert result.cells == ROWS
    assert result.lines == [2, 4]


def test_object_without_values_is_blank(read_lines: Reader) -> None:
    result = read_lines('{}\n{"bulan": null, "Catatan": " "}\n' + lines(ROWS[0]))
    assert result.cells == ROWS[:1]
    assert result.lines == [3]


def test_keys_are_spelt_as_freely_as_headers(read_lines: Reader) -> None:
    assert read_lines(lines(*ROWS).replace("target_iuran", " Target.Iuran")).cells == ROWS


def test_null_and_absent_are_missing_values(read_lines: Reader) -> None:
    text = lines(*ROWS) + '{"kode_kantor": "KC003", "bulan": null}\n'
    assert read_lines(text).cells[2] == ("KC003", None, None, None, None)


def test_empty_text_stays_empty(read_lines: Reader) -> None:
    assert read_lines(line(bulan='""')).cells[0][1] == ""


def test_numbers_keep_their_literal(read_lines: Reader) -> None:
    row = read_lines(line(kode_kantor="3172061212909001234567890", bulan="1.50", target_iuran="-0")).cells[0]
    assert row == ("3172061212909001234567890", "1.50", "10", "20", "-0")


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("1500000", "1500000"),
        ("1500000.0", "1500000"),
        ("1500.000", "1500"),
        ("1.5E6", "1500000"),
        ("1500.123", "1500.1230"),
        ("1500.5", "1500.5000"),
        ("-0.5", "-0.5000"),
        ("0.00001", "0.00001"),
        ("1e999999999", "1e999999999"),
        ("1e-999999999", "1e-999999999"),
        ('"1.500"', "1.500"),
        ('"1500.5"', "1500.5"),
    ],
)
def test_numbers_of_amounts_cannot_be_taken_for_grouped(read_lines: Reader, literal: str, text: str) -> None:
    assert read_lines(line(target_iuran=literal, target_peserta_baru=literal)).cells[0][2::2] == (text, text)


def test_other_values_are_json_text(read_lines: Reader) -> None:
    row = read_lines(line(kode_kantor="true", bulan='{"a": [1, "é"]}', target_iuran="NaN")).cells[0]
    assert row == ("true", '{"a": [1, "é"]}', "10", "20", "NaN")


def test_line_that_is_no_object_is_row_shape(read_lines: Reader) -> None:
    text = lines(*ROWS) + '[]\n"KC003"\n12\nnull\n'
    result = read_lines(text)
    assert result.column("_shape_ok") == [True, True, False, False, False, False]
    assert result.column("_raw")[2:] == ["[]", '"KC003"', "12", "null"]
    assert result.cells[2:] == [(None,) * 5] * 4


@pytest.mark.parametrize("broken", ['{"kode_kantor": "KC', "{} {}", "KC001;2023-12", '{"a": "\t"}', "[" * 100_000])
def test_line_that_is_no_json_is_unreadable(read_lines: Reader, broken: str) -> None:
    with pytest.raises(SliceRejected, match="UNREADABLE: line 3 is no JSON") as rejected:
        read_lines(lines(*ROWS) + broken + "\n" + lines(*ROWS))
    assert "KC" not in rejected.value.detail


def test_an_escaped_nul_in_a_known_column_is_unreadable(read_lines: Reader) -> None:
    with pytest.raises(SliceRejected, match="UNREADABLE: line 1 escapes"):
        read_lines(line(bulan='"\\u0000"'))


def test_half_a_surrogate_pair_is_no_character(read_lines: Reader) -> None:
    """The row alone is spoilt: validation refuses a cell with U+FFFD (Exchange rules 31, 38)."""
    result = read_lines(line(bulan='"a\\ud83db\\ude00"') + lines(*ROWS))
    assert result.cells == [("KC001", "a\ufffdb\ufffd", "10", "20", "30"), *ROWS]


@pytest.mark.parametrize("key", ["a\\u0000", "a\\ud83d", "_x0000_", "", "nik\\u0000", "x" * 5000])
def test_unknown_keys_of_any_kind_are_drift_and_nothing_else(read_lines: Reader, key: str) -> None:
    result = read_lines(line(**{key: '"\\u0000\\ud83d"'}) + lines(*ROWS))
    assert result.cells == [ROWS[0], *ROWS]
    assert result.reading.extra_columns == [json.loads(f'"{key}"')[:200]]
    result.frame.write_parquet(io.BytesIO())


@pytest.mark.parametrize(
    "literal", ["1e9999999999999999999", "-1e-9999999999999999999", "9" * 5000, "1." + "0" * 5000, "1e400", "-Infinity"]
)
def test_numbers_out_of_all_proportion_are_text_for_validation(read_lines: Reader, literal: str) -> None:
    row = read_lines(line(target_iuran=literal, bulan=literal)).cells[0]
    assert row[1] == literal
    assert row[4] == ("1" if literal.startswith("1.0") else literal)


def test_object_next_to_a_number_of_5000_digits(read_lines: Reader) -> None:
    text = line(bulan=' {"a": [1.50, {"é": null}]} ', Catatan="9" * 5000, target_iuran="[ ]")
    assert read_lines(text).cells[0] == ("KC001", '{"a": [1.50, {"é": null}]}', "10", "20", "[ ]")


def test_nesting_to_any_depth_gives_a_row_or_a_rejection(read_lines: Reader) -> None:
    for depth in [*range(1, 40), *range(sys.getrecursionlimit() - 300, sys.getrecursionlimit() + 5, 3)]:
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            nested = opening * depth + "1" + closing * depth
            assert rejected(read_lines, line(bulan=nested)) in {None, "UNREADABLE"}
            assert rejected(read_lines, line(Catatan=nested)) in {None, "UNREADABLE"}


def test_more_than_2000_keys_are_no_header(read_lines: Reader) -> None:
    for count, reason in ((1995, None), (1996, "HEADER")):
        text = line(**{f"k{number}": "1" for number in range(count)})
        assert rejected(read_lines, text) == reason


def test_values_without_end_are_unreadable(read_lines: Reader) -> None:
    with pytest.raises(SliceRejected, match="UNREADABLE: line 1 holds more than"):
        read_lines(line(bulan="[" + ",".join(["[]"] * 200_000) + "]"))
    long = "a b " * 500_000
    assert read_lines(line(bulan=json.dumps(long))).cells[0][1] == long


def test_unknown_key_twice_is_no_matter(read_lines: Reader) -> None:
    text = line().replace("}", ',"a": 1, "a": {}}')
    assert read_lines(text).cells == ROWS[:1]


def test_keys_in_any_number_of_orders(read_lines: Reader) -> None:
    dice = random.Random(20231211)
    pairs = [*zip(TARGET_WIRES, ROWS[0], strict=True), *((f"k{number}", "1") for number in range(9))]
    text = "".join(json.dumps(dict(dice.sample(pairs, len(pairs)))) + "\n" for _ in range(500))
    assert read_lines(text).cells == ROWS[:1] * 500


def test_ctrl_z_and_lines_of_nothing_that_is_seen(read_bytes: Reader) -> None:
    text = "\ufeff\u200b\xa0\n" + lines(*ROWS).replace("\n", "\n\u2060 \n") + "\ufeff" + line(bulan='"\u200b"').strip()
    result = read_bytes(text.encode() + b"\x1a", "target.jsonl")
    assert result.cells == [*ROWS, ("KC001", "\u200b", "10", "20", "30")]
    assert read_bytes(text.encode() + b"\n\x1a", "target.jsonl").frame.equals(result.frame)


def test_escaped_characters(read_lines: Reader) -> None:
    assert read_lines(line(bulan='"\\ud83d\\ude00\\u00e9\\n\\\\u0000"')).cells[0][1] == "😀é\n\\u0000"


def test_unknown_keys_are_drift(read_lines: Reader) -> None:
    text = line(Catatan="1") + line(lain="{}", Catatan="2") + line()
    result = read_lines(text)
    assert result.cells == [ROWS[0]] * 3
    assert result.reading.extra_columns == ["Catatan", "lain"]


def test_drift_without_end_is_cut_short(read_lines: Reader) -> None:
    result = read_lines("".join(line(**{f"kunci_{number}": "1"}) for number in range(3_000)))
    assert result.reading.extra_columns == [f"kunci_{number}" for number in range(100)]
    assert result.frame.height == 3_000


def test_known_key_twice_in_one_object_is_rejected(read_lines: Reader) -> None:
    for twice in ('"bulan": "2024-01"', '"Bulan": "2024-01"'):
        with pytest.raises(SliceRejected, match="HEADER: line 3: column bulan comes twice"):
            read_lines(lines(*ROWS) + line().replace("{", "{" + twice + ","))


def test_required_column_that_no_line_has_is_rejected(read_lines: Reader) -> None:
    with pytest.raises(SliceRejected, match="HEADER: required columns are in no line: target_iuran"):
        read_lines(lines(*ROWS).replace("target_iuran", "target"))


def test_required_column_that_one_line_has_is_enough(read_lines: Reader) -> None:
    assert read_lines('{"kode_kantor": "KC003"}\n' + lines(ROWS[0])).cells[1] == ROWS[0]


def test_optional_column_that_no_line_has_is_missing(read_lines: Reader) -> None:
    contract = load_contract("kegiatan")
    row = json.dumps({column.wire: "x" for column in contract.columns if column.required})
    result = read_lines(row, name="kegiatan.jsonl", feed="kegiatan")
    assert result.reading.missing_columns == [column.wire for column in contract.columns if not column.required]


@pytest.mark.parametrize("content", ["", "\n", "[]\n"])
def test_no_objects(read_lines: Reader, content: str) -> None:
    with pytest.raises(SliceRejected, match="HEADER"):
        read_lines(content, expected_rows=1)


def test_no_lines_are_valid_when_no_rows_are_announced(read_lines: Reader) -> None:
    assert read_lines("", expected_rows=0).frame.height == 0
    assert read_lines("\n \n", expected_rows=0).frame.height == 0


VALUE = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(*[VALUE] * 5).filter(lambda row: any(v and v.strip() for v in row)), max_size=6),
    ascii_only=st.booleans(),
)
def test_any_table_reads_back_the_same(
    read_bytes: Reader, rows: list[tuple[str | None, ...]], ascii_only: bool
) -> None:
    text = lines(ROWS[0]) + "\n".join(
        json.dumps(dict(zip(TARGET_WIRES, row, strict=True)), ensure_ascii=ascii_only) for row in rows
    )
    result = read_bytes(text.encode(), "target.jsonl")
    assert result.cells == [ROWS[0], *rows]
    assert result.lines == list(range(1, len(rows) + 2))
