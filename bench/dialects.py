"""Which way of telling a file's dialect is right most often: the feed's header, or a library that looks at the bytes.

Writes some hundred files from the traits that the exchange allows (delimiter, encoding, byte order mark, line ends,
titles, quotes with line breaks, spellings of the header, amounts with commas), seeded, and awkward ones next to them.
Then asks each contestant: kkbc.intake.reading, DuckDB's sniffer, csv.Sniffer, and CleverCSV when `--clevercsv` names a
Python
that has it (it is no dependency of the project: `python -m venv V && V/bin/pip install clevercsv`). Also compares
charset-normalizer with the rule "UTF-8 if valid, else Windows-1252", and python-calamine with openpyxl.

    python bench/dialects.py [--files 600] [--clevercsv V/bin/python]
"""

import argparse
import csv
import io
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import charset_normalizer
import duckdb
import openpyxl
import xlsxwriter
from python_calamine import CalamineWorkbook

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import Contract, load_contract
from kkbc.intake.reading import read

DELIMITERS = ";,\t|"
DAMAGED = ("right", "refused", "wrong", "panicked")

CLEVERCSV = """
import json, sys, time, clevercsv
for line in sys.stdin:
    text = json.loads(line)
    began = time.perf_counter()
    try:
        found = clevercsv.Sniffer().sniff(text, delimiters=";,\\t|").delimiter
    except Exception as error:
        found = type(error).__name__
    print(json.dumps([found, time.perf_counter() - began]), flush=True)
"""


@dataclass(frozen=True)
class Case:
    """A file, and the truth about it."""

    feed: str
    content: bytes
    delimiter: str
    encoding: str
    header_line: int
    rows: list[tuple[str, ...]]
    traits: dict[str, str]

    @property
    def text(self) -> str:
        """As the truth decodes it."""
        return self.content.decode(self.encoding)


def value(dice: Random, name: str, kind: str, amounts: str) -> str:
    """A cell as some branch might spell it."""
    if kind in ("idr", "int"):
        number = dice.randint(1, 5000) * 1000
        return {
            "plain": str(number),
            "dots": f"{number:,}".replace(",", "."),
            "commas": f"{number:,}",
            "rupiah": "Rp" + f"{number:,}".replace(",", ".") + ",00",
        }[amounts]
    if kind == "date":
        return dice.choice(["2023-12-11", "11/12/2023", "11 Des 2023", "11.12.2023"])
    if kind == "timestamp":
        return dice.choice(["2023-12-11 09:15", "11/12/2023 09:15:00", "2023-12-11T09:15:00+07:00"])
    if name == "nik":
        return dice.choice(["", "'"]) + f"31720655{dice.randint(10_000_000, 99_999_999)}"
    if name in ("full_name", "activity_name", "birth_place"):
        return dice.choice(["Budi Santoso", "Siti Nurhaliza, S.Pd", "André Café", "I Gede 'Made'", "R. Sri–Rejeki"])
    if name in ("address", "place", "work_place"):
        return dice.choice(
            ["Jl. Mawar 1, RT 01, RW 02, Kel. Baru", "Pasar Inpres; blok A", "Jl. Contoh", "", "Gg. 2 | dpn"]
        )
    return dice.choice(["", "A-1", "KANTOR", "NELAYAN"])


def make(dice: Random) -> Case:
    """A valid file with traits of its own."""
    feed = dice.choice(["pendaftaran", "iuran", "kegiatan", "target"])
    contract = load_contract(feed)
    traits = {
        "delimiter": dice.choice(DELIMITERS),
        "encoding": dice.choice(["utf-8", "utf-8-sig", "windows-1252"]),
        "newline": dice.choice(["\n", "\r\n"]),
        "titles": dice.choice(["none", "none", "plain", "with delimiters"]),
        "quotes": dice.choice(["needed", "needed", "all", "line breaks"]),
        "amounts": dice.choice(["plain", "dots", "commas", "rupiah"]),
        "rows": dice.choice(["0", "1", "3", "30", "300"]),
        "header": dice.choice(["wire", "upper", "spaced"]),
    }
    delimiter, newline = traits["delimiter"], traits["newline"]
    columns = list(contract.columns)
    dice.shuffle(columns)
    spell: dict[str, Callable[[str], str]] = {
        "wire": str,
        "upper": str.upper,
        "spaced": lambda wire: wire.replace("_", " ").title(),
    }
    titles = {
        "none": [],
        "plain": ["LAPORAN HARIAN", "Kantor Cabang Contoh"],
        "with delimiters": ["sep=;", "Laporan, harian; cabang", "Dicetak | 11/12/2023, 08:00", ";;;;;;", "Versi 1,2"],
    }[traits["titles"]]
    text = io.StringIO()
    for title in titles:
        text.write(title + newline)
    quoting = csv.QUOTE_ALL if traits["quotes"] == "all" else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writerow([spell[traits["header"]](column.wire) for column in columns])
    rows = []
    for _ in range(int(traits["rows"])):
        cells = {column.name: value(dice, column.name, column.type, traits["amounts"]) for column in columns}
        if traits["quotes"] == "line breaks" and "address" in cells:
            cells["address"] = f'Jl. "Mawar"{newline}RT 01{delimiter} RW 02'
        if not any(cells.values()):
            continue
        writer.writerow([cells[column.name] for column in columns])
        rows.append(tuple(cells[column.name] for column in contract.columns))
        if dice.random() < 0.02:
            text.write(newline)
    content = text.getvalue().encode(traits["encoding"])
    return Case(feed, content, delimiter, traits["encoding"], len(titles) + 1, rows, traits)


def awkward() -> dict[str, Case]:
    """Files that come up in real life, each valid under the exchange."""
    wires = [column.wire for column in load_contract("target").columns]
    rows = [("KC001", "2023-12", "10", "20", "1.500.000"), ("KC002", "2023-12", "11", "21", "2.500.000")]

    def case(text: str, delimiter: str, header_line: int = 1, expected: list[tuple[str, ...]] | None = None) -> Case:
        return Case(
            "target", text.encode(), delimiter, "utf-8", header_line, rows if expected is None else expected, {}
        )

    def table(delimiter: str, lines: list[tuple[str, ...]] | None = None) -> str:
        return "\n".join(delimiter.join(line) for line in [tuple(wires), *(rows if lines is None else lines)]) + "\n"

    commas = [("KC001", "2023-12", "1,000", "2,000", "1,500,000"), ("KC002", "2023-12", "1,100", "2,100", "2,500,000")]
    return {
        "header alone": case(table(";", []), ";", expected=[]),
        "one row": case(table(";", rows[:1]), ";", expected=rows[:1]),
        "more commas than delimiters": case(table(";", commas), ";", expected=commas),
        "sep=; above the header": case("sep=;\n" + table(";"), ";", 2),
        "unnamed last column": case(table(";").replace("\n", ";\n"), ";"),
        "title with more delimiters than the table": case("a,b,c,d,e,f,g,h,i\n" + table(";"), ";", 2),
        "unclosed quote in a title": case('Laporan "Harian\n' + table("|"), "|", 2),
        "blank lines and rows of delimiters": case(table(",").replace("\n", "\n\n,,,,\n", 1), ","),
        "tab between, commas within": case(table("\t", commas), "\t", expected=commas),
        "quotes around everything": case('"' + table('";"').strip().replace("\n", '"\n"') + '"\n', ";"),
        "lone CR as line end": case(table(";").replace("\n", "\r"), ";"),
    }


def header_driven(case: Case, path: Path) -> tuple[str | None, int | None, bool]:
    """Delimiter, line of the header, and whether every value came back."""
    contract: Contract = load_contract(case.feed)
    try:
        reading = read(path, f"{case.feed}.csv", contract, expected_rows=len(case.rows))
        rows = [row[3:] for batch in reading.batches for row in batch.rows()]
    except SliceRejected:
        return None, None, False
    return reading.dialect.delimiter, reading.dialect.header_line, rows == case.rows


def duckdb_sniffer(case: Case, path: Path) -> tuple[str | None, int | None, bool]:
    """Given the text in UTF-8, for it knows no Windows-1252 without an extension."""
    try:
        found = duckdb.execute("select Delimiter, SkipRows, HasHeader from sniff_csv(?)", [str(path)]).fetchone()
    except duckdb.Error:
        return None, None, False
    assert found is not None
    line = found[1] + 1 if found[2] else None
    return found[0], line, found[0] == case.delimiter and line == case.header_line


def csv_sniffer(case: Case, path: Path) -> tuple[str | None, int | None, bool]:
    """Only the delimiter: it knows no titles."""
    try:
        delimiter = csv.Sniffer().sniff(case.text[: 64 * 1024], delimiters=DELIMITERS).delimiter
    except csv.Error:
        return None, None, False
    return delimiter, None, delimiter == case.delimiter and case.header_line == 1


def contest(cases: list[Case], clevercsv: str | None) -> dict[str, dict[str, float]]:
    """Per contestant: share of files with the delimiter right, with all right, milliseconds a file."""
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.csv"
        for name, ask in (
            ("header of the feed (kkbc.intake.reading)", header_driven),
            ("DuckDB sniff_csv", duckdb_sniffer),
            ("csv.Sniffer", csv_sniffer),
        ):
            score: Counter[str] = Counter()
            seconds = 0.0
            for case in cases:
                path.write_bytes(case.text.encode() if ask is duckdb_sniffer else case.content)
                began = time.perf_counter()
                delimiter, _, right = ask(case, path)
                seconds += time.perf_counter() - began
                score["delimiter"] += delimiter == case.delimiter
                score["right"] += right
            results[name] = _shares(score, len(cases), seconds)
    if clevercsv:
        texts = "".join(json.dumps(case.text[: 64 * 1024]) + "\n" for case in cases)
        command = [clevercsv, "-c", CLEVERCSV]
        printed = subprocess.run(command, input=texts, capture_output=True, text=True, check=True).stdout
        answers = [json.loads(line) for line in printed.splitlines()]
        score = Counter()
        for case, (delimiter, _) in zip(cases, answers, strict=True):
            score["delimiter"] += delimiter == case.delimiter
            score["right"] += delimiter == case.delimiter and case.header_line == 1
        results["CleverCSV"] = _shares(score, len(cases), sum(seconds for _, seconds in answers))
    return results


def _shares(score: Counter[str], count: int, seconds: float) -> dict[str, float]:
    return {
        "delimiter right, %": 100 * score["delimiter"] / count,
        "delimiter and header right, %": 100 * score["right"] / count,
        "ms a file": 1000 * seconds / count,
    }


def encodings(cases: list[Case]) -> dict[str, dict[str, float]]:
    """Per way: share of files whose text came out as it was written, milliseconds a file."""

    def by_rule(content: bytes) -> str:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("windows-1252")

    def by_library(content: bytes) -> str:
        return str(charset_normalizer.from_bytes(content).best() or "")

    dice = Random(20231211)
    letters = [letter for letter in map(chr, range(0xC0, 0x100)) if letter.isalpha()] + ["–", "’", "€"]
    files = [case.content.decode(case.encoding) for case in cases]
    results = {}
    for name, decode in (("UTF-8, else Windows-1252 (rule 20)", by_rule), ("charset-normalizer", by_library)):
        score: Counter[str] = Counter()
        seconds = 0.0
        for text in files:
            # A name with one letter that is no ASCII, in a file that has no other.
            truth = "".join(filter(str.isascii, text)) + f"Ren{dice.choice(letters)} Pattiasina"
            for encoding in ("utf-8", "windows-1252"):
                content = truth.encode(encoding)
                began = time.perf_counter()
                score[encoding] += decode(content) == truth
                seconds += time.perf_counter() - began
        results[name] = {f"{encoding}: text right, %": 100 * right / len(files) for encoding, right in score.items()}
        results[name]["ms a file"] = 1000 * seconds / len(files) / 2
    return results


def workbooks() -> dict[str, dict[str, float]]:
    """Per library: rows a second of a long sheet, and what becomes of damaged workbooks."""
    dice = Random(20231211)
    content = io.BytesIO()
    with xlsxwriter.Workbook(content) as book:
        sheet = book.add_worksheet()
        for row in range(20_000):
            sheet.write_row(row, 0, [f"teks {row}", row, row / 7, "31720655", "Jl. Mawar, RT 01"] * 5)
    contract = load_contract("target")
    table = [(f"KC{row:03}", "2023-12", "10", "20", str(row * 1000)) for row in range(1, 51)]
    small = io.BytesIO()
    with xlsxwriter.Workbook(small) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([tuple(column.wire for column in contract.columns), *table]):
            sheet.write_row(number, 0, row)
    damaged = []
    for _ in range(300):
        changed = bytearray(small.getvalue())
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        damaged.append(bytes(changed[: dice.choice([len(changed), dice.randrange(len(changed))])]))

    def calamine(content: bytes) -> list[tuple[Any, ...]]:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        return [tuple(row) for row in book.get_sheet_by_index(0).iter_rows()][1:]

    def by_openpyxl(content: bytes) -> list[tuple[Any, ...]]:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True)
        return list(book.worksheets[0].iter_rows(values_only=True))[1:]

    def reading(content: bytes) -> list[tuple[Any, ...]]:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(content)
            batches = read(Path(file.name), "target.xlsx", contract, expected_rows=1).batches
            return [row[3:] for batch in batches for row in batch.rows()]

    results: dict[str, dict[str, float]] = {}
    for name, rows_of in (
        ("python-calamine", calamine),
        ("openpyxl, read_only", by_openpyxl),
        ("kkbc.intake.reading: a stream in a process of its own", reading),
    ):
        results[name] = {"rows/s (25 columns)": float("nan")}
        if rows_of is not reading:
            began = time.perf_counter()
            assert len(rows_of(content.getvalue())) == 19_999
            results[name]["rows/s (25 columns)"] = 20_000 / (time.perf_counter() - began)
        outcomes: Counter[str] = Counter()
        for broken in damaged:
            try:
                outcomes["right" if rows_of(broken) == table else "wrong"] += 1
            except Exception:
                outcomes["refused"] += 1
            except BaseException:
                outcomes["panicked"] += 1
        results[name] |= {f"damaged: {outcome}": outcomes[outcome] for outcome in DAMAGED}
    return results


def main() -> None:
    """Runs the comparisons and prints them as tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--clevercsv", help="a Python that has clevercsv")
    arguments = parser.parse_args()
    dice = Random(20231211)
    cases = [make(dice) for _ in range(arguments.files)]
    odd = awkward()
    _print(f"{len(cases)} files of valid traits", contest(cases, arguments.clevercsv))
    for titles in ("none", "plain", "with delimiters"):
        some = [case for case in cases if case.traits["titles"] == titles]
        _print(f"of these, titles: {titles} ({len(some)} files)", contest(some, arguments.clevercsv))
    _print(f"{len(odd)} awkward files", contest(list(odd.values()), arguments.clevercsv))
    _print("encoding", encodings(cases))
    _print("workbooks", workbooks())


def _print(title: str, results: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(results.values())))
    print(f"\n{title}\n  {'':<36}" + "".join(f"{column:>32}" for column in columns))
    for name, figures in results.items():
        print(f"  {name:<36}" + "".join(f"{figures[column]:>32,.1f}" for column in columns))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
