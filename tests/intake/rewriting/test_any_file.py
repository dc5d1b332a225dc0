"""Any file without any persons: the same rows elsewhere on the same lines, no form of a value, and never twice."""

import csv
import gzip
import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from kkbc.core.errors import SliceRejected
from kkbc.core.needles import Needles, in_file
from kkbc.exchange.contracts import load_contract
from kkbc.intake.reading import read
from kkbc.intake.rewriting import Persons, holds_any, rewrite
from tests.deliveries import REGISTRATION
from tests.e2e.encodings import as_workbook

NIKS = [f"117101120390900{n}" for n in range(1, 5)]
NAMES = dict(zip(NIKS, ("Tuti Satuan", "Budi Duaan", "Siti d'Tigaan", 'Edi "Empat" Rahayu'), strict=True))
PHONES = {nik: f"08127777{n}{n}{n}{n}" for n, nik in enumerate(NIKS, start=1)}
ODD = ['"', "'", '"x', 'x"y', '";', "\n", "a\r\nb\n\nc", "\u200b", "é", "", " ", "\t", "a;b,c|d", "\\", '\\"', "-"]


@dataclass(frozen=True)
class Sent:
    """A file, and the rows that it was made of with the person of each."""

    name: str
    content: bytes


@st.composite
def registrations(draw: st.DrawFn) -> list[dict[str, str]]:
    made = []
    for number in range(draw(st.integers(1, 9))):
        nik = draw(st.sampled_from(NIKS))
        spellings = [nik, f"'{nik}", f" {nik}\u00a0", f"{nik[:4]} {nik[4:]}", f"{nik[:6]}\u200b{nik[6:]}", "123"]
        row = REGISTRATION | {"no_pendaftaran": f"R-{number}", "nik": draw(st.sampled_from(spellings))}
        row |= {"no_hp": PHONES[nik]}
        row |= {"alamat": draw(st.sampled_from(ODD)), "lokasi_pekerjaan": draw(st.sampled_from(ODD))}
        row["nama_lengkap"] = draw(st.sampled_from([NAMES[nik], NAMES[nik].upper(), "Orang Lain"]))
        row["email"] = draw(st.sampled_from(["", f"ke {NAMES[draw(st.sampled_from(NIKS))]}"]))
        made.append(row)
    return made


@st.composite
def files(draw: st.DrawFn) -> Sent:
    rows = draw(registrations())
    kind = draw(st.sampled_from(["csv", "csv", "csv", "jsonl", "xlsx"]))
    if kind == "jsonl":
        ends = draw(st.sampled_from(["\n", "\r\n"]))
        lines = [json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows]
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["", "[1]", json.dumps([NAMES[NIKS[0]]])])))
        content = ends.join(lines).encode()
    elif kind == "xlsx":
        top = draw(st.sampled_from([[], [["Laporan", NAMES[NIKS[0]]]]]))
        content = as_workbook(
            ("Data", lambda made: [*top, list(made[0]), *(list(row.values()) for row in made)]),
            ("Lain", lambda made: [[row["nik"], "x"] for row in made]),
        )(rows)
    else:
        text = io.StringIO()
        delimiter, quote = draw(st.sampled_from(";,|\t")), draw(st.sampled_from("\"'"))
        end = draw(st.sampled_from(["\n", "\r\n"]))
        writer = csv.writer(text, delimiter=delimiter, quotechar=quote, lineterminator=end)
        writer.writerow(rows[0])
        for row in rows:
            cells = list(row.values())
            if draw(st.integers(0, 5)) == 0:
                cells = cells[: draw(st.integers(5, len(cells)))] + draw(st.sampled_from([[], ["x"]]))
            writer.writerow(cells)
        raw = text.getvalue()
        if draw(st.integers(0, 3)) == 0:  # a quote where none belongs
            at = draw(st.integers(raw.index("\n"), len(raw)))
            raw = raw[:at] + quote + raw[at:]
        if draw(st.booleans()):
            raw = raw.removesuffix("\n").removesuffix("\r")
        raw = draw(st.sampled_from(["", f"Laporan {NAMES[NIKS[1]]}\n", "\n\nLaporan;1\n"])) + raw
        encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]))
        content = raw.encode(encoding, "replace")
    packed = kind != "xlsx" and draw(st.booleans())
    return Sent(f"pendaftaran.{kind}{'.gz' if packed else ''}", gzip.compress(content) if packed else content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sent=files(), gone=st.sets(st.sampled_from(NIKS), min_size=1, max_size=3), with_values=st.booleans())
def test_any_file_without_any_persons(sent: Sent, gone: set[str], with_values: bool) -> None:
    values = {of[nik] for nik in gone for of in (NAMES, PHONES)} if with_values else set()
    persons, contract = Persons(frozenset(gone), frozenset(values)), load_contract("pendaftaran")
    with tempfile.TemporaryDirectory() as folder:
        path, made, again = (Path(folder) / name for name in ("sent", "made", "again"))
        path.write_bytes(sent.content)
        try:
            before = pl.concat(read(path, sent.name, contract, expected_rows=1).batches)
        except SliceRejected:
            event("unreadable")
            assume(False)
        lines = rewrite(path, sent.name, contract, 1, persons, made)
        event(f"{sent.name} {len(lines) > 0} {len(lines) < before.height}")
        after = pl.concat(read(made, sent.name, contract, expected_rows=1).batches)
        assert after["_line"].to_list() == before["_line"].to_list()
        others = ~pl.col("_line").is_in(list(lines))
        assert after.filter(others).equals(before.filter(others))
        erased = after.filter(~others)
        assert erased.height == len(lines)
        assert erased["nik"].to_list() == ["ERASED"] * len(lines)
        empty = pl.all_horizontal((pl.col(c.name).fill_null("") == "") for c in contract.columns if not c.is_nik)
        assert erased.select(empty).to_series().all()
        # By the plainest of searches, every row that names one of them went.
        for line, raw in before.filter(others).select("_line", "_raw").iter_rows():
            assert not any(value.lower() in raw.lower() for value in (*gone, *values)), line
        assert not in_file(made, Needles(persons.texts))
        assert not holds_any(made, sent.name, persons)
        if not holds_any(path, sent.name, persons):
            assert made.read_bytes() == path.read_bytes() or sent.name.endswith((".gz", ".xlsx"))
        assert rewrite(made, sent.name, contract, 1, persons, again) == ()
        assert again.read_bytes() == made.read_bytes()
