"""Delimited text, and damaged files of every kind, as Hypothesis and chance make them."""

import gzip
import random
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kkbc.intake.reading.csv_text import DELIMITERS
from tests.intake.reading.test_csv_text import HEADER

from .conftest import TARGET_WIRES, Reader, rejected

PIECES = ["KC001;2023-12;1;2;3", '"KC001";2023-12;"1";2;3', '"KC;001";2023-12;1;2;"a\nb"', "KC001;2023-12", ";;;;", ""]
PIECES += [
    '"',
    'a"b;c;d;e;f',
    '"a"b;c;d;e;f',
    '"a;b',
    'c;"";"""";d;e',
    " ; ; ; ; x",
    "a;b;c;d;e;f",
    '"";"";"";"";""',
    "\t",
]
MIXED = st.lists(st.sampled_from(PIECES), max_size=30)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=MIXED, batch_rows=st.integers(1, 5), line_end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_rows_do_not_depend_on_the_batches(
    read_bytes: Reader, lines: list[str], batch_rows: int, line_end: str
) -> None:
    content = line_end.join([HEADER, *lines]).encode()
    whole = read_bytes(content)
    assert read_bytes(content, batch_rows=batch_rows).frame.equals(whole.frame)
    # Each row stands where it says, and nothing but blank lines stands between rows.
    physical = re.split("\r\n|\r|\n", content.decode())
    at = 2
    for line, raw in whole.frame.select("_line", "_raw").iter_rows():
        assert not "".join(physical[at - 1 : line - 1]).strip('; \t"')
        taken = re.split("\r\n|\r|\n", raw)
        assert physical[line - 1 : line - 1 + len(taken)] == taken
        at = line + len(taken)
    assert not "".join(physical[at - 1 :]).strip('; \t"')


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
CELL_1252 = st.text(st.sampled_from("abc ;,|\t\"'\r\n€é–Ãÿ\xa0"), max_size=12)


def written(cell: str, delimiter: str, always: bool) -> str:
    if always or '"' in cell or re.search(f"[{re.escape(delimiter)}\r\n]", cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_table_in_any_valid_dialect_reads_back_the_same(read_bytes: Reader, data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "windows-1252"]))
    delimiter = data.draw(st.sampled_from(DELIMITERS))
    line_end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    cell = CELL_1252 if encoding == "windows-1252" else CELL
    row = st.tuples(*[cell] * 5).filter(lambda cells: any(text.strip() for text in cells))
    rows = data.draw(st.lists(row, max_size=6))
    order = data.draw(st.permutations(range(5)))
    title = st.text(st.sampled_from("abc ;,|\t\"'"), max_size=12)
    titles = data.draw(st.lists(title, max_size=5))
    if encoding == "windows-1252":
        titles = [*titles[:4], "é."]

    lines: list[str] = [*titles, delimiter.join(TARGET_WIRES[place] for place in order)]
    starts = []
    for cells in rows:
        lines += data.draw(st.lists(st.sampled_from(["", delimiter, " ", '""']), max_size=2))
        before = line_end.join([*lines, ""])
        starts.append(len(re.findall("\r\n|\r|\n", before)) + 1)
        always = data.draw(st.booleans())
        lines.append(delimiter.join(written(cells[place], delimiter, always) for place in order))
    text = line_end.join(lines) + data.draw(st.sampled_from(["", line_end, line_end * 2]))

    batch_rows = data.draw(st.sampled_from([1, 2, 3, 50_000]))
    result = read_bytes(text.encode(encoding), expected_rows=len(rows), batch_rows=batch_rows)
    # Blanks around a cell are no part of it, quoted or not: they may come or not (Exchange rule 36).
    assert [[cell.strip() for cell in cells if cell is not None] for cells in result.cells] == [
        [cell.strip() for cell in cells] for cells in rows
    ]
    assert result.lines == starts
    assert all(result.column("_shape_ok"))
    assert result.reading.dialect.delimiter == delimiter
    assert result.reading.dialect.encoding == (encoding if rows or titles or encoding != "windows-1252" else "utf-8")


NAMES = ["target.csv", "target.csv.gz", "target.jsonl", "target.xlsx"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=100).map(gzip.compress),
        st.text(st.sampled_from('KC1;,"\n\r\té{}[]:\\u0'), max_size=200).map(lambda body: f"{HEADER}\n{body}".encode()),
    ),
    name=st.sampled_from(NAMES),
)
def test_any_bytes_give_rows_or_a_rejection(read_bytes: Reader, content: bytes, name: str) -> None:
    assert rejected(read_bytes, content, name, expected_rows=0) in {None, "UNREADABLE", "HEADER"}


def test_damaged_files_give_rows_or_a_rejection(read_bytes: Reader) -> None:
    dice = random.Random(20231211)
    valid = f"{HEADER}\n".encode() + b'"KC001";2023-12;"a\nb";1;2\n' * 30
    for content in (valid, gzip.compress(valid)):
        for _ in range(100):
            damaged = bytearray(content)
            for _ in range(dice.randint(1, 4)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            assert rejected(read_bytes, bytes(damaged)) in {None, "UNREADABLE", "HEADER"}
