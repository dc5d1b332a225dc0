"""What people see of the quarantine, by the command line; and that persons are for those who may see them."""

import getpass
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from kkbc.cli.application import main
from kkbc.core.settings import get_settings
from kkbc.core.tokens import load_marks_key, subject
from kkbc.exchange.contracts import load_contract
from kkbc.warehouse import connect, server
from tests.deliveries import deliver
from tests.slices.quarantine.scene import DAY, NEW, NOTE, Office, Rules, query, retry_now

NIK, NAME = "1171011203909001", "Orang Contoh"
PII = ("--pii", "--why", "the branch asks")
BAD = {"no_pendaftaran": "R-2", "nik": "123", "nama_lengkap": NAME}


class Kkbc:
    """The command line; what it prints and with which status it ends."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        self.monkeypatch = monkeypatch

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """What it prints to stdout; with a status other than 0, to stderr."""
        self.monkeypatch.setattr(sys, "argv", ["kkbc", "quarantine", *arguments])
        try:
            main()
            ended: Any = 0
        except SystemExit as end:
            ended = end.code
        printed = self.capsys.readouterr()
        assert ended == status, printed
        return printed.out if status == 0 else printed.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def kkbc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kkbc:
    return Kkbc(capsys, monkeypatch)


@pytest.fixture
def as_operator(pg: server.Server, warehouse: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, the login may act as auditor and loader, and not as pii."""
    with psycopg.connect(pg.conninfo(), autocommit=True) as conn:
        conn.execute("drop role if exists operator")
        conn.execute("create role operator login")
        conn.execute("grant auditor, loader to operator")

    def become() -> None:
        monkeypatch.setenv("KKBC_DATABASE_URL", psycopg.conninfo.make_conninfo(warehouse, user="operator"))
        get_settings.cache_clear()

    return become


def test_list_counts_by_day_branch_feed_and_code(office: Office, kkbc: Kkbc) -> None:
    office.sends({}, BAD, {**BAD, **NEW})
    office.sends({"id_bayar": "P-1", "nik": "1"}, feed="iuran", day=DAY.replace(day=10), revision=2)
    query("update ops.quarantine set first_seen_at = now() - interval '3 days 2 hours' where line = 3 returning 1")
    found = kkbc.json("list")
    assert (found["rows"], found["slices"]) == (3, 2)
    names = ("business_date", "branch_id", "feed", "code", "rows", "age_days")
    assert [tuple(group[name] for name in names) for group in found["groups"]] == [
        ("2023-12-11", "KC001", "pendaftaran", "NIK_FORMAT", 2, 3),
        ("2023-12-11", "KC001", "pendaftaran", "CODE_UNKNOWN", 1, 0),
        ("2023-12-10", "KC001", "iuran", "DATE_FUTURE", 1, 0),
        ("2023-12-10", "KC001", "iuran", "NIK_FORMAT", 1, 0),
    ]
    printed = kkbc("list", "--feed", "pendaftaran", "--code", "CODE_UNKNOWN").splitlines()
    assert printed[1].split() == ["2023-12-11", "KC001", "pendaftaran", "CODE_UNKNOWN", "1", "0"]
    assert printed[-1] == "1 rows open in 1 slices"
    assert kkbc("list", "--date", "2023-12-09").strip() == "No open row in quarantine is like that."
    assert kkbc.json("list", "--until", "2023-12-10")["rows"] == 1


def test_list_shows_what_was_closed_and_how(office: Office, rules: Rules, kkbc: Kkbc) -> None:
    office.sends({**NEW}, BAD)
    rules.correct()
    kkbc("resolve", "--code", "NIK_FORMAT", "--why", "a test entry")
    retry_now()
    assert [(g["code"], g["closed_as"], g["rows"]) for g in kkbc.json("list", "--closed")["groups"]] == [
        ("CODE_UNKNOWN", "accepted", 1),
        ("NIK_FORMAT", "resolved", 1),
    ]
    assert kkbc.json("list")["rows"] == 0


def test_show_tells_what_became_of_a_row_and_no_person(office: Office, rules: Rules, kkbc: Kkbc) -> None:
    office.sends({}, {**BAD, **NEW})
    rules.correct()
    retry_now()
    shown = kkbc.json("show", "pendaftaran/KC001/2023-12-11:3")
    assert shown["slice"]["status"] == "loaded"
    (row,) = shown["rows"]
    assert (row["line"], row["errors"], row["fields"], row["closed_as"]) == (
        3,
        ["NIK_FORMAT"],
        ["nik:NIK_FORMAT"],
        None,
    )
    assert [(e["event"], e["errors_before"], e["why"]) for e in row["history"]] == [
        ("judged_anew", ["CODE_UNKNOWN", "NIK_FORMAT"], NOTE.why)
    ]
    printed = kkbc("show", "pendaftaran/KC001/2023-12-11/r1:3")
    assert "pendaftaran/KC001/2023-12-11/r1  loaded  file pendaftaran.csv" in printed
    assert "2 rows sent, 1 accepted, 1 quarantined" in printed
    assert f"CODE_UNKNOWN NIK_FORMAT -> NIK_FORMAT by a tester: {NOTE.why}" in printed
    for text in (printed, str(shown), kkbc("show", "pendaftaran/KC001/2023-12-11")):
        assert NAME not in text
        assert "R-2" not in text


def test_show_gives_the_text_as_sent_to_those_who_may_see_persons(office: Office, kkbc: Kkbc) -> None:
    office.sends({}, BAD, {"no_pendaftaran": "R-3", "nik": "456"})
    (row,) = kkbc.json("show", "pendaftaran/KC001/2023-12-11:3", *PII)["rows"]
    landed = (office.root / "KC001" / "2023-12-11" / "pendaftaran.csv").read_text().splitlines()
    assert row["raw"] == landed[2]
    assert [line["raw"] for line in kkbc.json("show", "pendaftaran/KC001/2023-12-11", *PII)["rows"]] == landed[2:]
    assert noted() == [
        ("quarantine show pendaftaran/KC001/2023-12-11:3", getpass.getuser(), "the branch asks", 1, []),
        ("quarantine show pendaftaran/KC001/2023-12-11", getpass.getuser(), "the branch asks", 2, []),
    ]


def test_who_is_looked_at_is_noted_by_a_keyed_hash(office: Office, kkbc: Kkbc, tmp_path: Path) -> None:
    spaced = " ".join((NIK[:4], NIK[4:8], NIK[8:12], NIK[12:]))
    office.sends({}, {**BAD, "kode_petugas": spaced}, {"no_pendaftaran": "R-3", "nik": "456"})
    person = subject(NIK, load_marks_key())
    kkbc("show", "pendaftaran/KC001/2023-12-11:3", *PII)
    kkbc("show", "pendaftaran/KC001/2023-12-11:4", *PII)
    kkbc("export", "--out", str(tmp_path / "rows.csv"), *PII)
    assert [subjects for *_, subjects in noted()] == [[person], [], [person]]


def test_no_person_without_a_reason(office: Office, kkbc: Kkbc, tmp_path: Path) -> None:
    office.sends({}, BAD)
    path = tmp_path / "rows.csv"
    for arguments in (("show", "pendaftaran/KC001/2023-12-11"), ("export", "--out", str(path))):
        for why in ((), ("--why", " ")):
            assert kkbc(*arguments, "--pii", *why, status=2) == (
                "kkbc: --pii needs a reason: add --why 'a few words': it is kept in the record of who looked\n"
            )
        assert "leave it out, or add --pii" in kkbc(*arguments, "--why", "x", status=2)
        assert not path.exists()
    assert noted() == []


def noted() -> list[tuple[Any, ...]]:
    with connect("auditor") as conn:
        return conn.execute("select action, done_by, why, rows, subjects from ops.access order by access_id").fetchall()


def test_persons_are_not_for_every_login(
    office: Office, kkbc: Kkbc, as_operator: Callable[[], None], tmp_path: Path
) -> None:
    office.sends({}, BAD)
    as_operator()
    path = tmp_path / "rows.csv"
    for arguments in (("show", "pendaftaran/KC001/2023-12-11"), ("export", "--out", str(path))):
        assert kkbc(*arguments, *PII, status=2) == (
            "kkbc: personal data are for logins that may act as database role pii:"
            " do without them, or let the owner of the database grant that role\n"
        )
        assert not path.exists()
    assert kkbc.json("export", "--out", str(path))["rows"] == 1


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_export_leaves_persons_out(office: Office, kkbc: Kkbc, tmp_path: Path, ending: str) -> None:
    # What a spreadsheet makes of a row: values in the column next to their own.
    office.sends(
        {},
        {**BAD, "kode_petugas": NIK, "segmen": "081234567890", "kode_kegiatan": "a@b.id", "kanal": "pasar "},
        {"no_pendaftaran": "SITI", "nik": "456", "tgl_pendaftaran": "1990-03-12", "jml_bulan": "81234567890"},
        # A delimiter was lost: what is behind it stands one column to the left.
        {"no_pendaftaran": "31710112", "nik": "7", "kode_pekerjaan": "Budi", "kode_program": "Jl. Mawar 5"},
    )
    path = tmp_path / f"rows.{ending}"
    assert kkbc.json("export", "--branch", "KC001", "--out", str(path))["rows"] == 3
    rows = pl.read_csv(path, infer_schema=False) if ending == "csv" else pl.read_parquet(path)
    personal = {column.wire for column in load_contract("pendaftaran").columns if column.personal}
    assert {"nik", "nama_lengkap", "no_hp", "tgl_lahir", "alamat"} <= personal
    assert not personal & set(rows.columns)
    assert "raw_text" not in rows.columns
    first = rows.row(0, named=True)
    names = ("feed", "branch_id", "business_date", "revision", "line")
    assert [str(first[name]) for name in names] == ["pendaftaran", "KC001", "2023-12-11", "1", "3"]
    assert first["file"] == "pendaftaran.csv"
    assert first["errors"] == ("NIK_FORMAT" if ending == "csv" else ["NIK_FORMAT"])
    assert (first["no_pendaftaran"], first["kanal"], first["jml_bulan"]) == ("R-2", "pasar ", "1")
    assert (first["tgl_pendaftaran"], first["kode_wilayah"]) == ("2023-12-11 09:00", "117101")
    assert (first["kode_petugas"], first["segmen"], first["kode_kegiatan"]) == ("***", "***", "***")
    second, third = rows.row(1, named=True), rows.row(2, named=True)
    hidden = ("no_pendaftaran", "tgl_pendaftaran", "jml_bulan")
    assert [second[name] for name in hidden] == ["***", "***", "***"]
    assert [third[name] for name in ("kode_pekerjaan", "kode_program")] == ["***", "***"]
    assert NAME.encode() not in path.read_bytes()


def test_export_with_persons_is_for_its_owner_only(office: Office, kkbc: Kkbc, tmp_path: Path) -> None:
    office.sends({}, BAD)
    path = tmp_path / "rows.csv"
    path.write_text("something that lay there")
    path.chmod(0o644)
    assert "1 rows written to" in kkbc("export", "--out", str(path), *PII)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (row,) = pl.read_csv(path, infer_schema=False).iter_rows(named=True)
    assert (row["nik"], row["nama_lengkap"], row["no_hp"]) == ("123", NAME, "081234567890")
    assert row["raw_text"].startswith("R-2,KC001,")
    assert list(tmp_path.glob("*.partial")) == []


def test_export_of_what_was_closed_and_of_earlier_revisions(office: Office, kkbc: Kkbc, tmp_path: Path) -> None:
    office.sends(BAD)
    office.sends({"no_pendaftaran": "R-9", "nik": "9"}, revision=2)
    path = tmp_path / "rows.parquet"
    kkbc("export", "--out", str(path), "--closed")
    assert pl.read_parquet(path).select("revision", "no_pendaftaran", "closed_as").rows() == [(1, "R-2", "superseded")]
    kkbc("export", "--out", str(path))
    assert pl.read_parquet(path).select("revision", "no_pendaftaran").rows() == [(2, "R-9")]


def test_retry_and_resolve_tell_what_they_did(office: Office, rules: Rules, kkbc: Kkbc) -> None:
    office.sends({"diubah_pada": "2023-12-11 08:00"}, {**NEW}, {**BAD, **NEW})
    rules.correct()
    would = kkbc("retry", "--why", "JMO added", "--dry-run")
    outcome = "1 accepted, 1 still bad with other codes, 1 accepted before lost their key to them"
    assert f"Would be: 2 rows judged again, {outcome}" in " ".join(would.split())
    printed = " ".join(kkbc("retry", "--why", "JMO added", "--code", "CODE_UNKNOWN").split())
    assert f"pendaftaran/KC001/2023-12-11/r1: {outcome} 2 rows judged again, {outcome} The next night builds" in printed
    assert query("select distinct why, done_by <> '' from ops.quarantine_event") == [("JMO added", True)]
    assert kkbc.json("retry", "--why", "again") == {
        "judged": 2,
        "accepted": 0,
        "changed": 0,
        "displaced": 0,
        "slices": [],
        "failed": {},
        "dry_run": False,
    }
    assert kkbc("resolve", "--line", "4", "--why", "a test entry").strip() == "1 rows resolved"
    assert kkbc.json("resolve", "--line", "4", "--why", "a test entry") == {"resolved": 0, "dry_run": False}


def test_a_slice_that_cannot_be_retried_makes_status_1(office: Office, rules: Rules, kkbc: Kkbc, home: Path) -> None:
    office.sends({**NEW})
    rules.correct()
    (path,) = (home / "landing").rglob("sent/pendaftaran.csv")
    path.unlink()
    message = kkbc("retry", "--why", "JMO added", status=1)
    assert "pendaftaran/KC001/2023-12-11/r1 could not be retried: landing folder" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--branch", "KC999"), "branch 'KC999' is not in the registry"),
        (
            ("list", "--feed", "pendaftran"),
            "unknown feed 'pendaftran': feeds are: pendaftaran, iuran, kegiatan, target",
        ),
        (("list", "--code", "NIK"), "unknown code 'NIK': codes are: ROW_SHAPE,"),
        (("list", "--since", "2023-12-11", "--until", "2023-12-01"), "no day is from 2023-12-11 until 2023-12-01"),
        (
            ("list", "--date", "2023-12-11", "--until", "2023-12-11"),
            "--date is one day, --since and --until are several",
        ),
        (("show", "KC001"), "'KC001' is no address of a slice: it looks like pendaftaran/KC044/2023-12-11,"),
        (("show", "iuran/KC001/2023-13-11"), "2023-13-11 is no day"),
        (("show", "iuran/KC001/2023-12-09"), "iuran/KC001/2023-12-09 is not known: nothing of it was delivered yet"),
        (("show", "iuran/KC001/2023-12-11"), "is not in force in any revision; there is /r1 (rejected CHECKSUM)"),
        (("show", "pendaftaran/KC001/2023-12-11/r7"), "is not known in that revision; there is /r1 (loaded)"),
        (("show", "pendaftaran/KC001/2023-12-11:2"), "line 2 of pendaftaran/KC001/2023-12-11 was never quarantined"),
        (("export", "--out", "rows.xlsx"), "rows.xlsx has no known ending: choose one of: .csv .parquet"),
        (("export", "--out", "rows.csv", "--line", "99"), "no quarantined row is like that"),
        (("export", "--out", "no/such/folder/rows.csv"), "no/such/folder/rows.csv cannot be written: No such file"),
        (("retry", "--why", " "), "no reason is given: say why in a few words"),
        (("resolve", "--why", "x"), "every open row would be resolved: say which: --branch, --feed,"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    office: Office, kkbc: Kkbc, arguments: tuple[str, ...], message: str
) -> None:
    folder = office.root / "KC001" / DAY.isoformat()
    office.sends({}, BAD)
    deliver(office.root, {"pendaftaran": [{}, BAD], "iuran": [{}]})
    (folder / "iuran.csv").write_bytes(b"cut off")
    office.pull()
    printed = kkbc(*arguments, status=2)
    assert message in printed
    assert len(printed.splitlines()) == 1


def test_rows_of_several_feeds_do_not_go_into_one_file(office: Office, kkbc: Kkbc, tmp_path: Path) -> None:
    office.sends(BAD)
    office.sends({"id_bayar": "P-1", "nik": "1"}, feed="iuran", revision=2)
    message = kkbc("export", "--out", str(tmp_path / "rows.csv"), status=2)
    assert "rows of several feeds have no columns in common: iuran, pendaftaran: choose one by --feed" in message
    assert kkbc.json("export", "--feed", "iuran", "--out", str(tmp_path / "rows.csv"))["rows"] == 1


def test_a_warehouse_of_an_older_version_says_so(office: Office, kkbc: Kkbc) -> None:
    office.sends(BAD)
    with connect() as conn:
        conn.execute("drop table ops.quarantine_event")
    message = kkbc("show", "pendaftaran/KC001/2023-12-11", status=2)
    assert message == "kkbc: the warehouse is older than this program: `kkbc migrate` brings it up to date\n"
