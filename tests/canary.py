"""Invented persons, planted wherever a branch can write, and a search for them that owes nothing to the product's.

Every person is a stem that all share and a number of their own, so that a few words are looked for and whatever is
found names the place that it was planted in.
"""

import base64
import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import xlsxwriter

from kkbc.exchange.contracts import load_contract
from tests.deliveries import TEMPLATE, as_csv

DAY = date(2023, 12, 11)
FORMATS = {"KC001": "csv", "KC002": "xlsx", "KC030": "jsonl"}
"""The branches that send good and bad rows, and how; KC061 sends manifests that nobody can trust."""
MANIFESTS = "KC061"

STEMS = {
    "name": "Canaria Qwertz",
    "nik": "1171011203909",
    "phone": "0812777777",
    "email": "canaria.qwertz@",
    "address": "Jl. Kenari Qwertz",
}
# A mobile number typed into a number is a number, and what it may be is for nobody to tell.
OF_NUMBERS = ("name", "email", "address", "nik")
# One that leaves the row good in itself, and one that does not.
GOOD, BAD = {}, {"nik": "31", "status_data": "LAIN"}


@dataclass
class Planted:
    """The persons planted so far: their number says where."""

    places: list[str] = field(default_factory=list)

    def person(self, kind: str, place: str) -> str:
        """The `kind` of value of a new person, to be written to `place`."""
        number = len(self.places)
        self.places.append(f"{place} ({kind})")
        letters = "".join(chr(97 + number // 26**power % 26) for power in (2, 1, 0))
        return {
            "name": f"Canaria Qwertz {letters.title()}",
            "nik": f"1171011203909{number % 1000:03d}",
            "phone": f"+62 812-7777-77{number % 1000:03d}" if number % 2 else f"0812777777{number % 1000:03d}",
            "email": f"canaria.qwertz@{letters}.id",
            "address": f"Jl. Kenari Qwertz No. {number}",
        }[kind]

    def origin(self, text: str) -> list[str]:
        """Where those of a text that was found may have been planted."""
        letters = re.search(r"(?i)(?:canaria qwertz |canaria\.qwertz@)([a-z]{3})", text)
        if not letters:
            return []
        number = 0
        for letter in letters[1].lower():
            number = number * 26 + ord(letter) - 97
        return self.places[number : number + 1]


def rows_of(feed: str, branch_id: str, planted: Planted) -> list[dict[str, str]]:
    """For each column and kind of value a row that would be good but for it, and one that is bad besides."""
    rows = [{"nik": "1171011203909001"}]
    for column in load_contract(feed).columns:
        for kind in STEMS if column.type not in ("int", "idr") else OF_NUMBERS:
            for fault in (GOOD, BAD):
                value = planted.person(kind, f"{branch_id} {feed}.{column.wire}{' of a bad row' if fault else ''}")
                rows.append({**fault, column.wire: value})
    key = {"pendaftaran": "no_pendaftaran", "iuran": "id_bayar", "kegiatan": "kode_kegiatan"}[feed]
    numbered = [{key: f"K-{number}", "kode_kantor": branch_id} | row for number, row in enumerate(rows)]
    return [{name: row[name] for name in row if name in TEMPLATE[feed]} for row in numbered]


def file_of(feed: str, kind: str, rows: list[dict[str, str]], planted: Planted, place: str) -> bytes:
    """The rows as a file whose further columns, and the sheet next to it, are persons too."""
    extra = {planted.person(of, f"{place} column title"): planted.person(of, f"{place} extra cell") for of in STEMS}
    rows = [TEMPLATE[feed] | row | extra for row in rows]
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    columns = list(rows[0])
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"strings_to_numbers": False}) as book:
        sheet = book.add_worksheet(planted.person("name", f"{place} sheet"))
        for line, cells in enumerate([columns, *([row[column] for column in columns] for row in rows)]):
            for at, cell in enumerate(cells):
                sheet.write_string(line, at, cell)
    return buffer.getvalue()


def entry(feed: str, name: str, content: bytes, rows: int) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"feed": feed, "name": name, "rows": rows, "bytes": len(content), "sha256": digest}


def manifest(branch_id: str, day: date, files: list[dict[str, Any]], **said: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "branch_id": branch_id,
        "business_date": day.isoformat(),
        "revision": 1,
        "sent_at": f"{day}T19:02:11+07:00",
        "files": files,
    } | said


def plant(root: Path, day: date = DAY) -> Planted:
    """Deliveries of four branches, and folders of none, with a person wherever one can be written."""
    planted = Planted()
    for branch_id, kind in FORMATS.items():
        folder = root / branch_id / day.isoformat()
        folder.mkdir(parents=True)
        files = []
        for feed in TEMPLATE:
            rows = rows_of(feed, branch_id, planted)
            # The name of one file of each branch is a person's.
            name = f"{planted.person('name', f'{branch_id} file name')}.{kind}" if feed == "iuran" else f"{feed}.{kind}"
            content = file_of(feed, kind, rows, planted, f"{branch_id} {feed}")
            (folder / name).write_bytes(content)
            files.append(entry(feed, name, content, len(rows)))
        for of in STEMS:
            files.append(entry(planted.person(of, f"{branch_id} unknown feed"), f"{of}.csv", b"", 0))
            if of != "address":
                (folder / f"{planted.person(of, f'{branch_id} unlisted file')}.csv").write_text("x")
        (folder / "manifest.json").write_text(json.dumps(manifest(branch_id, day, files)))
    _plant_manifests(root / MANIFESTS, day, planted)
    for of in ("name", "nik", "phone", "email"):
        (root / planted.person(of, "folder next to the branches") / day.isoformat()).mkdir(parents=True)
        (root / "KC001" / planted.person(of, "folder next to the days")).mkdir()
    return planted


def _plant_manifests(folder: Path, day: date, planted: Planted) -> None:
    """A delivery for each field of a manifest, with persons in that field, on days of their own."""
    content = as_csv("iuran", [{"kode_kantor": folder.name}])
    good = entry("iuran", "iuran.csv", content, 1)
    fields = ["schema_version", "branch_id", "business_date", "revision", "sent_at", "files", "another"]
    numbers = iter(range(1, 1000))
    for of in ("name", "phone"):
        for named in [*fields, *(f"files.{name}" for name in [*good, "another"]), "text", "twice", "title"]:
            on = day - timedelta(days=next(numbers))
            value = planted.person(of, f"manifest {named}")
            said: Any = manifest(folder.name, on, [good])
            data = content
            if named == "text":
                said = value
            elif named == "twice":
                said["files"] = [good | {"name": value}, good | {"name": value}]
            elif named == "title":
                data = f"{value};{value}\n".encode()  # no header
                said["files"] = [entry("iuran", "iuran.csv", data, 1)]
            elif named.startswith("files."):
                said["files"] = [good | {named.removeprefix("files."): value}]
            else:
                said[named] = value
            there = folder / on.isoformat()
            there.mkdir(parents=True)
            (there / "iuran.csv").write_bytes(data)
            (there / "manifest.json").write_text(value if named == "text" else json.dumps(said))


# --- a search of its own ----------------------------------------------------------------------------------------------
def forms(stem: str) -> list[bytes]:
    """The stem in plain, upper case, UTF-16, URL-encoded, JSON's escapes and base64."""
    found = []
    for text in {stem, stem.upper(), stem.removeprefix("0")}:
        plain = text.encode()
        found += [
            plain,
            text.encode("utf-16-le"),
            text.encode("utf-16-be"),
            quote(text, safe="").encode(),
            plain.hex().encode(),
        ]
        found += ["".join(f"\\u{ord(letter):04x}" for letter in text).encode()]
        for shift in range(3):
            coded = base64.b64encode(b"-" * shift + plain)
            found.append(coded[4 if shift else 0 : -4])
    return [form for form in found if len(form) > 6]


NEEDLES = re.compile(b"|".join(re.escape(form) for stem in STEMS.values() for form in forms(stem)))


def grep(content: bytes) -> list[str]:
    """What stands next to each find, as text."""
    return [content[max(0, m.start() - 40) : m.end() + 40].decode("latin-1") for m in NEEDLES.finditer(content)]


def in_files(home: Path, *left_out: Path) -> Iterator[tuple[str, list[str]]]:
    """Every file of the home, and its path, in which something is found."""
    for path in sorted(home.rglob("*")):
        if not path.is_file() or any(path.is_relative_to(folder) for folder in left_out):
            continue
        content = str(path).encode() + b"\n" + path.read_bytes()
        if path.suffix == ".gz":
            content += gzip.decompress(path.read_bytes())
        if found := grep(content):
            yield str(path), found


def in_tables(conn: psycopg.Connection) -> Iterator[tuple[str, list[str]]]:
    """Every table of a database in which something is found."""
    tables = conn.execute(
        "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where relkind = 'r' and nspname not in ('pg_catalog', 'information_schema')"
        " and nspname not like 'pg\\_%temp%' order by 1"
    ).fetchall()
    for (table,) in tables:
        with conn.cursor().copy(f"copy {table} to stdout".encode()) as copy:
            found = grep(b"".join(bytes(row) for row in copy))
        if found:
            yield table, found
