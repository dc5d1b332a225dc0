"""CSV and JSON lines without persons: tombstones on the same lines, all other rows and bytes as they were."""

import gzip
import json
from pathlib import Path

import pytest

from kkbc.core.errors import SliceRejected
from kkbc.core.needles import Needles, in_file
from kkbc.exchange.contracts import load_contract
from kkbc.intake.reading import read
from kkbc.intake.rewriting import Persons, holds_any, rewrite, values_of
from tests.deliveries import REGISTRATION

GONE, STAYS = "1171011203909001", "1171011203909002"
NAME = "Orang Hilang"
PERSONS = Persons(frozenset({GONE}), frozenset({NAME, "081277771234", "hilang@contoh.id"}))
HEADER = (
    "nik;id_bayar;kode_kantor;tgl_bayar;kanal_bayar;periode_mulai;jml_bulan;kode_program;iuran_jkk;iuran_jkm;total;"
    "status_data;diubah_pada"
)
WIDTH = 13
TOMBSTONE = '"ERASED"' + ";" * (WIDTH - 1)


def line(nik: str, key: str, last: str = "2023-12-11 10:00") -> str:
    return f"{nik};{key};KC001;2023-12-11 10:00;BRI;2023-12-11;1;JKK_JKM;10000;6800;16800;BARU;{last}"


OPEN = line(STAYS, '"P-1')


def rewritten(tmp_path: Path, content: bytes, name: str = "iuran.csv", persons: Persons = PERSONS) -> bytes:
    """What becomes of a file; no form of a value of the persons is in it, and doing it again changes nothing."""
    path, made, again = tmp_path / "sent", tmp_path / "made", tmp_path / "again"
    path.write_bytes(content)
    assert holds_any(path, name, persons)
    contract = load_contract(name.partition(".")[0])
    rewrite(path, name, contract, 1, persons, made)
    assert not in_file(made, Needles(persons.texts))
    assert not holds_any(made, name, persons)
    assert rewrite(made, name, contract, 1, persons, again) == ()
    assert again.read_bytes() == made.read_bytes()
    return made.read_bytes()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_tombstone_stands_where_the_row_stood(tmp_path: Path, end: str, closed: bool, encoding: str) -> None:
    rows = [HEADER, line(GONE, "P-1"), line(STAYS, "P-é"), "", line(GONE, "P-3")]
    must = [HEADER, TOMBSTONE, line(STAYS, "P-é"), "", TOMBSTONE]
    last = end if closed else ""
    made = rewritten(tmp_path, (end.join(rows) + last).encode(encoding))
    assert made == (end.join(must) + last).encode(encoding)


@pytest.mark.parametrize(
    ("sent", "must"),
    [
        # a cell over three lines
        ([line(GONE, '"P\n-\n1"'), line(STAYS, "P-2")], [TOMBSTONE, "", "", line(STAYS, "P-2")]),
        # a cell too few, one too many, and the person in a cell that is none of the contract's
        ([line(GONE, "P-1").removesuffix(";2023-12-11 10:00"), line(STAYS, "P-2")], [TOMBSTONE, line(STAYS, "P-2")]),
        ([line(GONE, "P-1;x"), line(STAYS, "P-2")], [TOMBSTONE, line(STAYS, "P-2")]),
        # a quote that is never closed, in a row of somebody else and in the person's
        ([OPEN, line(GONE, "P-2"), line(STAYS, "P-3")], [OPEN, TOMBSTONE, line(STAYS, "P-3")]),
        ([line(GONE, '"P-1'), line(STAYS, "P-2")], [TOMBSTONE, line(STAYS, "P-2")]),
        ([OPEN, line(GONE, 'P"2"x'), line(STAYS, '"P-3"')], [OPEN, TOMBSTONE, line(STAYS, '"P-3"')]),
        # the NIK in other spellings
        ([line(f" '{GONE}", "P-1")], [TOMBSTONE]),
        ([line("1171 0112 0390 9001", "P-1")], [TOMBSTONE]),
        ([line("1171\u200b011203909001", "P-1")], [TOMBSTONE]),
        # other values, wherever they stand
        ([line(STAYS, NAME.upper()), line(STAYS, "+62 812-7777-1234")], [TOMBSTONE, TOMBSTONE]),
    ],
)  # fmt: skip
def test_oddities(tmp_path: Path, sent: list[str], must: list[str]) -> None:
    made = rewritten(tmp_path, "\n".join([HEADER, *sent, ""]).encode())
    assert made.decode().split("\n") == [HEADER, *must, ""]


def test_titles_and_names_of_columns_lose_the_person_too(tmp_path: Path) -> None:
    titles = [f"Laporan {NAME}", "", "untuk; 2023"]
    sent = "\r\n".join([*titles, f"{HEADER};{NAME}", f"{line(GONE, 'P-1')};", f"{line(STAYS, 'P-2')};"])
    must = "\r\n".join(["ERASED", "", "untuk; 2023", f"{HEADER};ERASED", f"{TOMBSTONE};", f"{line(STAYS, 'P-2')};"])
    assert rewritten(tmp_path, sent.encode()).decode() == must


def test_a_mark_of_dos_at_the_end_stays(tmp_path: Path) -> None:
    made = rewritten(tmp_path, f"{HEADER}\n{line(STAYS, 'P-1')}\n{line(GONE, 'P-2')}\x1a".encode())
    assert made.decode() == f"{HEADER}\n{line(STAYS, 'P-1')}\n{TOMBSTONE}\x1a"


def test_gzip_stays_gzip(tmp_path: Path) -> None:
    made = rewritten(tmp_path, gzip.compress(f"{HEADER}\n{line(GONE, 'P-1')}\n".encode()), "iuran.csv.gz")
    assert gzip.decompress(made).decode() == f"{HEADER}\n{TOMBSTONE}\n"


@pytest.mark.parametrize("delimiter", [",", "|", "\t", ";"])
@pytest.mark.parametrize("quote", ['"', "'"])
def test_whatever_delimits_cells(tmp_path: Path, delimiter: str, quote: str) -> None:
    head = HEADER.replace(";", f"{quote}{delimiter}{quote}")
    row = line(GONE, "P-1").replace(";", delimiter)
    made = rewritten(tmp_path, f"{quote}{head}{quote}\n{row}\n".encode())
    assert made.decode() == f"{quote}{head}{quote}\n{quote}ERASED{quote}{delimiter * (WIDTH - 1)}\n"


def test_json_lines(tmp_path: Path) -> None:
    row = {"Id Bayar": "P-1", "NIK": GONE, "lain": {"a": [1]}, "kode_kantor": "KC001"}
    other = json.dumps(dict(zip(HEADER.split(";"), line(STAYS, "P-2").split(";"), strict=True)))
    escaped = "".join(f"\\u{ord(c):04x}" if n % 2 else c for n, c in enumerate(GONE))
    sent = [json.dumps(row), other, f'["{GONE}"]', "", f'{{"nik": "{escaped}", "total": 16800}}', json.dumps({NAME: 1})]
    must = [
        '{"Id Bayar": null, "NIK": "ERASED", "lain": null, "kode_kantor": null}',
        other,
        '{"nik": "ERASED"}',
        "",
        '{"nik": "ERASED", "total": null}',
        '{"nik": "ERASED"}',
    ]
    for name, pack in (("iuran.jsonl", bytes), ("iuran.jsonl.gz", gzip.compress)):
        made = rewritten(tmp_path, pack("\r\n".join(sent).encode()), name)
        made = gzip.decompress(made) if name.endswith(".gz") else made
        assert made.decode().split("\r\n") == must


def test_a_feed_without_niks_loses_rows_that_name_the_person(tmp_path: Path) -> None:
    head = "kode_kegiatan,kode_kantor,jenis,nama,mulai,selesai,jumlah_kontak,status_data,diubah_pada"
    good = "A-1,KC001,PASAR,Pasar,2023-12-11 08:00,2023-12-11 11:00,40,BARU,2023-12-11 11:30"
    made = rewritten(tmp_path, f"{head}\n{good}\n{good.replace('Pasar', NAME)}\n".encode(), "kegiatan.csv")
    assert made.decode() == f'{head}\n{good}\n"ERASED",,,,,,,,\n'


def test_what_cannot_be_read_as_rows_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(f"a;b\n{GONE};2\n".encode())
    with pytest.raises(SliceRejected, match="HEADER"):
        rewrite(tmp_path / "sent", "iuran.csv", load_contract("iuran"), 1, PERSONS, tmp_path / "made")


def test_what_rows_say_of_a_person(tmp_path: Path) -> None:
    contract = load_contract("pendaftaran")
    rows = [
        REGISTRATION | {"nik": f"'{GONE}", "nama_lengkap": " Orang  Hilang ", "kpj": "-", "email": "hilang@contoh.id"},
        REGISTRATION | {"nik": GONE, "nama_lengkap": "Nan", "no_hp": "NULL", "kpj": "12345678901"},
        REGISTRATION | {"nik": STAYS, "nama_lengkap": "Orang Lain"},
    ]
    (tmp_path / "sent").write_text("".join(json.dumps(row) + "\n" for row in rows))
    batches = read(tmp_path / "sent", "pendaftaran.jsonl", contract, expected_rows=3).batches
    assert values_of(batches, contract, frozenset({GONE})) == {
        "full_name": {"Orang  Hilang", "Nan"},
        "kpj": {"12345678901"},
        "phone": {REGISTRATION["no_hp"]},
        "email": {"hilang@contoh.id"},
    }
