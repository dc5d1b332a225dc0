"""Deliveries that are hard to take rightly, one or more for each rule of the exchange from 16 on, a branch each.

Each says what must come of it by the letter of its rule: counts and codes of its slice. They are played together, so
that none may stop another.
"""

import csv
import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deliveries import TEMPLATE
from tests.e2e.encodings import (
    PLAIN_BOOK,
    Encode,
    Row,
    as_csv,
    as_lines,
    as_workbook,
    dimension,
    elsewhere,
    grid,
    one_string_often,
    repacked,
)

DAY = "2023-12-11"
KEYS = {"pendaftaran": "no_pendaftaran", "iuran": "id_bayar", "kegiatan": "kode_kegiatan"}
GONE = "rejected"
ZERO_WIDTH, SOFT_HYPHEN, NO_BREAK = "\u200b", "\u00ad", "\u00a0"


@dataclass
class File:
    """A file as the manifest lists it; `stored` is its name in the folder, `listed` what the manifest says else."""

    feed: str
    name: str
    content: bytes | None
    rows: int
    stored: str | None = None
    listed: dict[str, Any] = field(default_factory=dict)


@dataclass
class Manifest:
    """One manifest with its files."""

    files: list[File]
    revision: Any = 1
    name: str = "manifest.json"
    sent_at: str | None = f"{DAY}T19:02:11+07:00"


@dataclass
class Hard:
    """A delivery: the rule that it is hard by, what is sent, and what must come of the slice of `feed`.

    codes: rows by error code; None for a slice that is rejected. A slice of activities next to it is good.
    """

    rule: int
    what: str
    feed: str
    manifests: list[Manifest]
    sent: int
    codes: dict[str, int] | None
    accepted: int = 0
    revision: int = 1
    status: str = "on_time"
    keys: tuple[str, ...] | None = None


def rows(feed: str, branch_id: str, changes: Iterable[Row]) -> list[Row]:
    """Good rows of a branch but for `changes`, each with a key and a person of its own."""
    made = []
    for number, change in enumerate(changes, start=1):
        row = TEMPLATE[feed] | {"kode_kantor": branch_id, KEYS[feed]: f"{feed[0].upper()}-{branch_id}-{number}"}
        if "nik" in row:
            row["nik"] = f"117101120390{9000 + number}"
        made.append(row | change)
    return made


def hard_deliveries() -> dict[str, Hard]:
    """By branch. Numbers, lengths and spellings are those of the rules' own words, or one beyond them."""
    found: dict[str, Hard] = {}

    def branch() -> str:
        return f"KC{len(found) + 1:03d}"

    def add(rule: int, what: str, feed: str, manifests: list[Manifest], **must: Any) -> None:
        found[branch()] = Hard(rule, what, feed, manifests, **must)

    def table(
        rule: int,
        what: str,
        feed: str,
        changes: Sequence[Row],
        codes: dict[str, int] | None,
        encode: Encode | None = None,
        name: str | None = None,
        **must: Any,
    ) -> None:
        """One file whose rows are good but for `changes`; as many are bad as `codes` says."""
        content = (encode or as_csv())(rows(feed, branch(), changes))
        file = File(feed, name or f"{feed}.csv", content, len(changes))
        bad = sum(codes.values()) if codes is not None else 0
        must = {"sent": len(changes), "accepted": len(changes) - bad} | must
        add(rule, what, feed, [Manifest([file])], codes=codes, **must)

    def one_by_one(column: str, values: Iterable[str]) -> list[Row]:
        return [{column: value} for value in values]

    def paid(jkk: str, jkm: str, total: str) -> Row:
        return {"iuran_jkk": jkk, "iuran_jkm": jkm, "total": total}

    lost = {"VALUE_INVALID": 1}
    book = "iuran.xlsx"

    # 16: grouping and decimal signs
    table(
        16,
        "one sum in five spellings",
        "iuran",
        [
            paid("10,000.000", "6,800.00", "16800"),
            paid("10.000,00", "6.800", "16.800,000"),
            paid("Rp10.000", "Rp 6.800,00", "Rp16.800"),
            paid("10000,0000", "6800", "16800.0"),
            paid("10000.000", "6800.000", "16,800.000"),
        ],
        {},
    )
    unreadable = "10000.5 10.00.000 1.0000.000 10,000,000.000,0 9200000000000000000 1000000000001 1e9999 10.000.00"
    table(16, "what no rule reads", "iuran", one_by_one("iuran_jkk", unreadable.split()), {"VALUE_INVALID": 8})
    counts = ["1.500", "1,500", "1500.000", "1.5", "9" * 20]
    table(16, "counts", "kegiatan", one_by_one("jumlah_kontak", counts), {"VALUE_INVALID": 2})
    fractions = [{}, {"iuran_jkk": "1.5"}, {"iuran_jkk": "1e18"}]
    numbers = as_workbook(("Data", grid("iuran_jkk", "iuran_jkm", "iuran_jht", "total")))
    table(16, "amounts in numeric cells", "iuran", fractions, {"VALUE_INVALID": 2}, numbers, book)
    table(17, "a NIK in a numeric cell", "iuran", [{}], lost, as_workbook(("Data", grid("nik"))), book)
    table(
        20,
        "five titles, blank lines among them, the delimiter in one",
        "kegiatan",
        [{}],
        {},
        lambda made: b"Laporan;kegiatan;harian\n\n;;\nKantor\n\nTanggal;11\nEmpat\nLima\n" + as_csv()(made),
    )
    table(
        20,
        "a known column twice",
        "kegiatan",
        [{}],
        None,
        lambda made: as_csv()([row | {"Kode-Kantor": "KC001"} for row in made]),
    )

    # 24, 25: lengths and years
    long_ones = {
        "no_pendaftaran": 201,
        "kode_petugas": 3_000,
        "kode_kegiatan": 100_000,
        "kpj": 201,
        "kode_pos": 201,
        "kanal": 300,
        "kode_pekerjaan": 15_000,
        "segmen": 13_890,
        "kode_wilayah": 3_000,
        "alamat": 4_001,
        "nama_lengkap": 100_000,
        "lokasi_pekerjaan": 4_001,
        "jam_awal": 4_001,
    }
    too_long = [{name: "9" * length} for name, length in long_ones.items()]
    just_so = [{"alamat": "a" * 4_000}, {"no_pendaftaran": "Q" * 200}]
    table(24, "longer than a store takes", "pendaftaran", [*too_long, *just_so], {"VALUE_INVALID": len(too_long)})
    table(
        24,
        "keys of payments",
        "iuran",
        [{"id_bayar": "A" * 13_890}, {"kanal_bayar": "B" * 2_800}],
        {"VALUE_INVALID": 2},
    )
    years = ["0203-01-01", "0001-01-01", "1899-12-31", "2101-01-01", "9999-12-31", "1900-01-01", "2100-12-31"]
    table(25, "years out of the calendar", "iuran", one_by_one("periode_mulai", years), {"VALUE_INVALID": 5})

    # 26, 27, 28: what a spreadsheet or a keyboard leaves in a cell
    eaten = {
        "no_pendaftaran": "1.23E+10",
        "kode_petugas": "1,5E+12",
        "kode_kegiatan": "2.0E+9",
        "kpj": "1,2E+10",
        "kode_pos": "4E+04",
        "nik": "3,17206E+15",
    }
    table(
        26, "keys eaten", "pendaftaran", [{name: text} for name, text in eaten.items()], {"VALUE_INVALID": len(eaten)}
    )
    digits = [{"id_bayar": "2023121100000017"}, {"id_bayar": "202312110000001"}]
    table(26, "16 digits in a numeric cell", "iuran", digits, lost, as_workbook(("Data", grid("id_bayar"))), book)
    errors = ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#GETTING_DATA"]
    wrong = [*one_by_one("alamat", [*errors, "######"]), {"nama_lengkap": "#NAME?"}, {"no_hp": "###"}]
    right = one_by_one("alamat", ["Jl. #5", "##"])
    table(27, "error cells as words", "pendaftaran", [*wrong, *right], {"VALUE_INVALID": len(wrong)})
    formula = as_workbook(("Data", grid(formula="kanal_bayar")))
    table(27, "an error cell", "iuran", [{}, {}], lost, formula, book)
    unseen = [
        {"no_pendaftaran": f"R{ZERO_WIDTH}-9"},
        {"no_pendaftaran": f"{NO_BREAK}R-9\u3000"},
        {"no_pendaftaran": f"\ufeffR-{SOFT_HYPHEN}8"},
        {"kanal": f"PA{ZERO_WIDTH}SAR"},
        {"penghasilan": "1.000\u2060.000"},
        {"alamat": "a\tb"},
        {"nama_lengkap": "Orang\x07 Contoh"},
        {"alamat": "a\x0bb"},
    ]
    table(
        28,
        "characters that nobody sees",
        "pendaftaran",
        unseen,
        {"VALUE_INVALID": 2, "KEY_DUPLICATE": 1},
        lambda made: as_csv()(made) + b"\x1a",
        keys=("R-8", "R-9", "P-{}-4", "P-{}-5", "P-{}-6"),
    )
    table(28, "NUL", "iuran", [{}], None, lambda made: as_csv()(made).replace(b"BRI", b"B\0RI"))

    # 29, 31: what is read of a file
    old = [[], ["Lama"]]
    hidden = as_workbook(("Lama", lambda made: grid()(made * 2)), ("Data", grid()), hidden=["Lama"])
    table(29, "a hidden sheet with old rows before the visible one", "iuran", [{}], {}, hidden, book)
    table(
        29,
        "no visible sheet fits",
        "iuran",
        [{}],
        {},
        as_workbook(("Catatan", lambda _: old), ("Data", grid()), hidden=["Data"]),
        book,
    )
    two = as_workbook(("Satu", grid()), ("Dua", lambda made: grid()(made * 2)))
    table(29, "two visible sheets fit", "iuran", [{}], {}, two, book)
    names = [{"nama_lengkap": "José"}, {"nama_lengkap": "Renée"}, {}]
    table(
        31,
        "a byte order mark, and a byte that is not UTF-8",
        "pendaftaran",
        names,
        lost,
        lambda made: gzip.compress(b"\xef\xbb\xbf" + as_csv()(made).replace("Renée".encode(), b"Ren\xe9e")),
        "pendaftaran.csv.gz",
    )
    table(31, "Windows-1252 whole", "pendaftaran", names, {}, as_csv(encoding="cp1252"))

    # 30: clocks
    ahead = one_by_one("diubah_pada", ["2023-12-13 00:00", "2099-01-01 00:00", "2023-12-12 19:00"])
    table(30, "updated after it was sent", "pendaftaran", ahead, {"DATE_FUTURE": 2})
    for sent_at, status in (("2099-01-01T00:00:00+07:00", "late"), (None, "on_time")):
        future = one_by_one("diubah_pada", ["2099-01-01 00:00", "2023-12-11 10:00"])
        file = File("pendaftaran", "pendaftaran.csv", as_csv()(rows("pendaftaran", branch(), future)), 2)
        clock = [Manifest([file], sent_at=sent_at)]
        must = {"sent": 2, "accepted": 1, "codes": {"DATE_FUTURE": 1}, "status": status}
        add(30, f"sent_at {sent_at}", "pendaftaran", clock, **must)

    # 32: dates
    spelt = [
        *("11 Dec 2023 9:05", "11 December 2023", "Sen, 11 Des 2023 09:00", "Monday, 11 December 2023"),
        *("2023-12-11T09:05+07", "2023-12-11 09:05:00.123+07", "11/12/2023 11:05 WIT", "11-Dec-2023 09.05"),
        *("20231211 09:05", "11/Des/2023 10:00", "11-Des-2023", "2023/12/11", "11.12.2023 9.05"),
    ]
    table(32, "spellings of people and programs", "pendaftaran", one_by_one("tgl_pendaftaran", spelt), {})
    not_spelt = [
        "12/13/2023",
        "11/12/23",
        "11-12-23 09:05",
        "Dec 11, 2023",
        "2023-13-11",
        "2023-02-30",
        "2023-12-11 25:00",
    ]
    bad_dates = one_by_one("tgl_pendaftaran", not_spelt)
    table(32, "no dates", "pendaftaran", bad_dates, {"VALUE_INVALID": len(not_spelt)})

    # 33, 34: revisions and names
    def payments(count: int, name: str, **said: Any) -> File:
        return File("iuran", name, as_csv()(rows("iuran", branch(), [{}] * count)), count, **said)

    for revision in (1000, 20231211, 1.5, 0):
        second = Manifest([payments(1, "iuran.lain.csv")], revision, "manifest.r2.json")
        first = Manifest([payments(2, "iuran.csv")])
        add(33, f"revision {revision}", "iuran", [first, second], sent=2, accepted=2, codes={})
    last = Manifest([payments(1, "iuran.r999.csv")], 999, "manifest.r999.json")
    kept = [Manifest([payments(2, "iuran.csv")]), last]
    add(33, "the last revision that there is", "iuran", kept, sent=1, accepted=1, codes={}, revision=999)
    capitals = [Manifest([payments(1, "iuran.csv", stored="IURAN.CSV")], name="MANIFEST.json")]
    add(34, "names in capitals", "iuran", capitals, sent=1, accepted=1, codes={})
    revised = Manifest([payments(2, "iuran.r2.csv")], 2, "Manifest.R2.Json")
    add(
        34,
        "a revision in capitals",
        "iuran",
        [Manifest([payments(1, "iuran.csv")]), revised],
        sent=2,
        accepted=2,
        codes={},
        revision=2,
    )
    for name in ("../2023-12-10/iuran.csv", "..\\iuran.csv", "/etc/hostname", "."):
        outside = Manifest([File("iuran", name, None, 1, listed={"bytes": 10})])
        add(34, f"the name {name}", "iuran", [outside], sent=0, codes=None)

    # 35: bytes
    longer = payments(1, "iuran.csv")
    longer.listed["bytes"] = len(longer.content or b"") - 5
    add(35, "a file longer than its manifest says", "iuran", [Manifest([longer])], sent=0, codes=None)

    # 36: quotes and blanks
    table(
        36,
        "a delimiter lost before a quoted cell",
        "kegiatan",
        [{}, {}],
        {"ROW_SHAPE": 1},
        lambda made: as_csv()(made).replace(b";Blusukan pasar;", b';Blusukan"pasar;baru";', 1),
    )
    for delimiter in ",;\t|":
        table(
            36,
            f"blanks next to {delimiter!r}",
            "kegiatan",
            [{}, {"nama": f"Pasar{delimiter} Baru"}],
            {},
            lambda made, sign=delimiter: as_csv(sign, quoting=csv.QUOTE_ALL)(made).replace(  # type: ignore[misc]
                f'"{sign}"'.encode(), f'" {sign} "'.encode()
            ),
        )

    # 37: bombs, and what Excel opens
    table(37, "2,001 columns", "iuran", [{f"x{number}": "1" for number in range(2_001 - 14)}], None)
    table(37, "other names of parts", "iuran", [{}], {}, repacked(PLAIN_BOOK, elsewhere), book)
    slashes = repacked(PLAIN_BOOK, lambda name, xml: (name.replace("/", "\\"), xml))
    table(37, "backslashes", "iuran", [{}], {}, slashes, book)
    for reference in (b"A0:AA2", b"A1", b"Z9:A1", b"A1:XFD1048576"):
        wrong_size = repacked(PLAIN_BOOK, dimension(reference))
        table(37, f"dimension {reference.decode()}", "iuran", [{}], {}, wrong_size, book)
    table(37, "one string named often", "iuran", [{}], None, repacked(PLAIN_BOOK, one_string_often), book)

    # 38: JSON that no library expects
    jsonl = "iuran.jsonl"
    keyed = as_lines(lambda line: line[:-1] + ', "a\\ud800": 1}', lambda line: line[:-1] + ', "b\\u0000": {"c": [1]}}')
    table(38, "keys that no store can hold", "iuran", [{}, {}], {}, keyed, jsonl)
    long_number = as_lines(
        lambda line: line[:-1] + ', "a": {"b": 1}, "c": ' + "9" * 5_000 + "}",
        lambda line: line.replace('"10000"', "9" * 5_000),
        lambda line: line.replace('"10000"', '{"a": 1}')[:-1] + ', "c": ' + "9" * 5_000 + "}",
    )
    table(38, "5,000 digits", "iuran", [{}, {}, {}], {"VALUE_INVALID": 2}, long_number, jsonl)
    exponents = ["1e999999", "-1e9999999999999999999", "1E-9999999999", "Infinity", "1.68e4"]
    spelt_so = as_lines(*[lambda line, text=text: line.replace('"16800"', text) for text in exponents])  # type: ignore[misc]
    table(38, "exponents", "iuran", [{}] * 5, {"VALUE_INVALID": 4}, spelt_so, jsonl)
    table(
        38,
        "half a character",
        "iuran",
        [{}, {}],
        lost,
        as_lines(lambda line: line.replace('"BRI"', '"x\\ud800"'), str),
        jsonl,
    )
    shapes = as_lines(lambda _: "[1, 2]", str, lambda _: '"x"')
    table(38, "lines that are no objects", "iuran", [{}, {}, {}], {"ROW_SHAPE": 2}, shapes, jsonl)
    table(38, "a line that breaks off", "iuran", [{}], None, as_lines(lambda line: line[:-1]), jsonl)
    return found


def write(root: Path, branch_id: str, hard: Hard) -> None:
    """Puts a delivery down; where it is of another feed, good activities stand next to it."""
    folder = root / branch_id / DAY
    folder.mkdir(parents=True)
    for manifest in hard.manifests:
        files = list(manifest.files)
        if hard.feed != "kegiatan":
            name = f"kegiatan.{manifest.name}.csv"
            files.append(File("kegiatan", name, as_csv()(rows("kegiatan", branch_id, [{}])), 1))
        listed = []
        for file in files:
            content = file.content or b""
            if file.content is not None:
                (folder / (file.stored or file.name)).write_bytes(content)
            said = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} | file.listed
            listed.append({"feed": file.feed, "name": file.name, "rows": file.rows} | said)
        document = {
            "schema_version": 1,
            "branch_id": branch_id,
            "business_date": DAY,
            "revision": manifest.revision,
            "sent_at": manifest.sent_at,
            "files": listed,
        }
        (folder / manifest.name).write_text(json.dumps(document))
