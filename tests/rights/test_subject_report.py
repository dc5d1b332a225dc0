"""`kkbc subject-report`: all that is held of a person, wherever it lies, and nothing that is not theirs."""

import json
import re
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kkbc.core.settings import get_settings
from kkbc.exchange import code_texts as words
from kkbc.exchange.slices import RejectionReason, RowCode
from kkbc.rights.persons import persons
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import faults
from tests.deliveries import deliver
from tests.rights.conftest import Kkbc
from tests.slices.quarantine.scene import Office, fingerprint

NIK, OTHER, NOBODY = "1171011203909001", "1171011203909002", "1171011203909003"
CANARY = "<script>alert('x')</script> & \"Sari\""
WHY = ("--why", "request 12")


def report(kkbc: Kkbc, nik: str = NIK) -> tuple[dict[str, Any], str]:
    """The JSON and the page of a person."""
    done = kkbc("subject-report", *WHY, "--json", stdin=nik)
    assert done.exit_code == 0, done
    (made,) = json.loads(done.stdout)
    assert nik not in done.output
    return json.loads(Path(made["json"]).read_text()), Path(made["html"]).read_text()


def kinds(content: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(row["feed"], row["revision"], row["kind"], row["status"], row["line"]) for row in content["rows"]]


def test_every_row_of_every_revision_and_feed_is_there_and_of_nobody_else(office: Office, kkbc: Kkbc) -> None:
    mine, theirs = {"no_pendaftaran": "R-1", "nama_lengkap": CANARY}, {"no_pendaftaran": "R-2", "nik": OTHER}
    office.sends(
        mine, theirs, {"no_pendaftaran": "R-3", "kanal": "???"}, {**mine, "no_pendaftaran": "R-4", "jml_bulan": "999"}
    )
    office.sends({**mine, "alamat": "Jalan Baru 1"}, theirs, revision=2)
    office.sends({"no_pendaftaran": "R-9"}, revision=3, files=[])
    office.sends({}, {"id_bayar": "P-2", "nik": OTHER}, feed="iuran")
    # Typed where it does not belong, with separators.
    office.sends({"nama": f"Kunjungan {NIK[:6]} {NIK[6:12]}-{NIK[12:]}"}, feed="kegiatan")
    content, page = report(kkbc)
    assert content["held"]
    found = kinds(content)
    assert ("pendaftaran", 2, "in_force", "loaded", 2) in found
    assert ("pendaftaran", 1, "accepted", "superseded", 2) in found
    assert ("pendaftaran", 1, "quarantined", "superseded", 5) in found
    assert ("iuran", 1, "in_force", "loaded", 2) in found
    assert not any(row["values"].get("nik") == OTHER for row in content["rows"])
    assert OTHER not in json.dumps(content) + page
    stored = next(row for row in content["rows"] if row["kind"] == "in_force" and row["feed"] == "pendaftaran")
    assert stored["values"]["full_name"] == CANARY
    assert stored["values"]["address"] == "Jalan Baru 1"
    assert stored["file"] == "pendaftaran.r2.csv"
    assert re.fullmatch("[0-9a-f]{64}", stored["sha256"])
    assert stored["sent_at"] < stored["loaded_at"]
    assert stored["load_id"] > 0
    quarantined = next(row for row in content["rows"] if row["kind"] == "quarantined" and row["line"] == 5)
    assert "MONTHS_RANGE" in quarantined["errors"]
    assert "R-4" in quarantined["text"]
    assert words.CODES["MONTHS_RANGE"] in page
    assert content["names"] == [CANARY]


def test_what_a_branch_typed_is_text_on_the_page(office: Office, kkbc: Kkbc) -> None:
    office.sends(
        {"nama_lengkap": CANARY, "alamat": "<img src=x onerror=alert(1)>"}, {"no_pendaftaran": "<b>", "nik": NIK + "x"}
    )
    content, page = report(kkbc)
    assert content["names"] == [CANARY]
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_files_that_were_rejected_are_searched_too(office: Office, kkbc: Kkbc) -> None:
    folder = deliver(office.root, {"pendaftaran": [{}]})
    (folder / "iuran.xlsx").write_bytes(b"not a workbook " + NIK.encode("utf-16-le"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][0]["rows"] = 7
    damaged = {"feed": "iuran", "name": "iuran.xlsx", "rows": 1, **fingerprint((folder / "iuran.xlsx").read_bytes())}
    manifest["files"].append(damaged)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    office.pull()
    content, page = report(kkbc)
    assert content["held"]
    assert ("pendaftaran", 1, "sent", "rejected", 2) in kinds(content)
    assert ("iuran", 1, "sent", "rejected", None) in kinds(content)
    assert words.REASONS["ROW_COUNT"] in page
    assert "tidak dapat dibaca baris demi baris" in page


def test_where_it_went_and_who_looked(office: Office, kkbc: Kkbc) -> None:
    office.sends({}, {"no_pendaftaran": "R-3", "nik": NIK, "jml_bulan": "999"})
    (person,) = persons([NIK])
    with connect() as owner:
        owner.execute(
            "create table bi_detail.fct_registration (branch_id text, registered_on date, participant_token text)"
        )
        owner.execute(
            "insert into bi_detail.fct_registration values ('KC001', '2023-12-11', %s), ('KC002', '2023-12-11', 'x')",
            [person.token],
        )
        owner.execute("grant select on bi_detail.fct_registration to analyst")
        owner.execute(
            "insert into ops.build (build_id, run_id, as_of, first_business_date) overriding system value"
            " values (7, 'r', '2023-12-11', '2023-12-11')"
        )
        owner.execute("update ops.slice set build_id = 7")
        owner.execute("insert into ops.publication (build_id, as_of, tables) values (7, '2023-12-11', '{}')")
    shown = kkbc("quarantine", "show", "pendaftaran/KC001/2023-12-11:3", "--pii", "--why", "a look")
    assert shown.exit_code == 0
    content, page = report(kkbc)
    assert [row["branch_id"] for row in content["facts"]["fct_registration"]] == ["KC001"]
    assert content["counted_in"] == [
        {
            "branch_id": "KC001",
            "day": "2023-12-11",
            "as": "pendaftaran",
            "amount_idr": None,
            "marts": ["kpi_branch_daily", "kpi_channel_daily", "kpi_national_daily"],
        }
    ]
    assert [(p["as_of"], p["shown"]) for p in content["publications"]] == [("2023-12-11", True)]
    looked = [(entry["action"], entry["why"]) for entry in content["accesses"]]
    assert looked[:2] == [
        ("quarantine show pendaftaran/KC001/2023-12-11:3", "a look"),
        ("subject-report", "request 12"),
    ]
    assert ("vault.registrations", "request 12") in [(action, why.split(": ")[-1]) for action, why in looked]
    assert "a look" in page
    assert faults() == []


def test_of_somebody_unknown_nothing_is_held_and_the_request_is_noted(office: Office, kkbc: Kkbc) -> None:
    office.sends({})
    content, page = report(kkbc, NOBODY)
    assert not content["held"]
    assert content["rows"] == []
    assert "Tidak ada data tentang NIK ini" in page
    assert content["accesses"][0]["action"] == "subject-report"
    done = kkbc("subject-report", *WHY, stdin=NOBODY)
    assert "nothing is held of this person" in done.stdout


def files_of_tables() -> set[int]:
    """The files in which PostgreSQL keeps who was seen and restricted."""
    with connect() as conn:
        rows = conn.execute("select pg_relation_filenode(c) from unnest('{vault.seen,vault.restricted}'::regclass[]) c")
        return {number for (number,) in rows}


def test_of_somebody_who_was_erased_it_says_so(office: Office, kkbc: Kkbc) -> None:
    office.sends({"nik": NIK})
    content, page = report(kkbc, NIK)
    assert content["erasure"] is None
    assert "telah dihapus" not in page
    kkbc("restrict", *WHY, stdin=NIK)
    before = files_of_tables()
    done = kkbc("erase", *WHY, "--request", "req-1", stdin=NIK)
    assert done.exit_code == 0, done
    # Rows that name the token are in old pages otherwise.
    assert not before & files_of_tables()
    content, page = report(kkbc, NIK)
    assert (content["held"], content["rows"]) == (False, [])
    with connect() as conn:
        noted = conn.execute(
            "select s.suppressed_at, e.finished_at from vault.suppressed s join ops.erasure e using (erasure_id)"
        ).fetchone()
    assert noted is not None
    assert [content["erasure"][name] for name in ("kept_out_since", "erased_at")] == [at.isoformat() for at in noted]
    assert "Orang ini telah dihapus atas permintaan (Pasal 8) pada" in page
    assert "nothing is held of this person; the person was erased" in kkbc("subject-report", *WHY, stdin=NIK).stdout
    assert report(kkbc, OTHER)[0]["erasure"] is None
    # What stands for the person would be stored again.
    refused = kkbc("restrict", *WHY, stdin=f"{OTHER}\n{NIK}")
    assert "number 2 was erased" in str(refused.exception)
    with connect() as conn:
        assert conn.execute("select count(*) from vault.restricted").fetchone() == (1,)


def test_the_files_are_for_their_owner_alone(office: Office, kkbc: Kkbc, tmp_path: Path) -> None:
    office.sends({})
    report(kkbc)
    folder = get_settings().home / "subject-reports"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made = sorted(folder.iterdir())
    assert [path.suffix for path in made] == [".html", ".json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert not any(NIK in path.name for path in made)
    kkbc("subject-report", *WHY, "--out", str(tmp_path / "out"), stdin=f"{NIK}\n{OTHER}\n{NIK}")
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize(
    ("stdin", "message"),
    [("", "names nobody"), ("12345\n", "line 1 of standard input"), (f"{NIK}\nSari", "line 2 of standard input")],
)
def test_nothing_is_read_for_what_is_no_nik(office: Office, kkbc: Kkbc, stdin: str, message: str) -> None:
    done = kkbc("subject-report", *WHY, stdin=stdin)
    assert message in str(done.exception)
    assert "Sari" not in str(done.exception)
    with connect("auditor") as conn:
        assert conn.execute("select from ops.access").fetchall() == []


def test_no_report_without_a_reason(office: Office) -> None:
    from kkbc.cli.application import app

    done = CliRunner().invoke(app, ["subject-report", "--why", " "], input=NIK.encode())
    assert "no reason is given" in str(done.exception)


def test_a_correction_of_the_branch_is_what_the_report_says(office: Office, kkbc: Kkbc) -> None:
    office.sends({"nama_lengkap": "Nama Salah"})
    office.sends(
        {"nama_lengkap": "Nama Benar", "status_data": "KOREKSI", "diubah_pada": "2023-12-11 12:00"}, revision=2
    )
    content, _ = report(kkbc)
    named = {row["kind"]: row["values"]["full_name"] for row in content["rows"]}
    assert named == {"in_force": "Nama Benar", "accepted": "Nama Salah"}
    with connect() as conn:
        assert conn.execute("select full_name, _revision from vault.registrations").fetchall() == [("Nama Benar", 2)]


def test_every_code_has_words() -> None:
    from typing import get_args

    assert set(words.CODES) == set(get_args(RowCode))
    assert set(words.REASONS) == set(get_args(RejectionReason))
    assert words.in_words("CHECKSUM") != words.in_words("A_NEW_ONE") == "A_NEW_ONE"


def test_a_day_is_shown_as_indonesians_write_it(office: Office, kkbc: Kkbc) -> None:
    office.sends({})
    _, page = report(kkbc)
    assert f"{date(1990, 3, 12):%d-%m-%Y}" in page
    assert "1.000.000" in page
