"""A person through nights: corrected by the branch, held out of the marts, and counted again."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core import tokens
from kkbc.marts.verify import verify_against_rebuild
from kkbc.nights import RunRequest, plain
from kkbc.rights.persons import persons
from kkbc.warehouse import connect
from tests.deliveries import deliver

DAY = date(2023, 12, 11)
NIK, OTHER = "1171011203909001", "1171011203909002"
FACTS = ("fct_registration", "fct_contribution", "fct_acquisition", "fct_coverage", "dim_participant")


def night(root: Path) -> int:
    outcome = plain.run_night(RunRequest(DAY, root, first_business_date=DAY, gate="warn"), lambda *_: None)
    return int(outcome["publication_id"])


def query(statement: str, *given: Any) -> list[tuple[Any, ...]]:
    with connect() as conn:
        return conn.execute(statement, given).fetchall()  # type: ignore[arg-type]


def kpis() -> list[tuple[Any, ...]]:
    return query(
        "select branch_id, registrations, contributions_idr, acquisitions, belum_aktif + aktif from bi.kpi_branch_daily"
        " where branch_id = 'KC001'"
    )


def of_the_person() -> dict[str, int]:
    (person,) = persons([NIK])
    return {
        name: query(f"select count(*) from bi_detail.{name} where participant_token = %s", person.token)[0][0]
        for name in FACTS
    }


def facts_reconcile() -> bool:
    """Whether the gate found every row in force in the facts, in the last build."""
    found = query(
        "select bool_and(success), count(*) from ops.audit_result where suite = 'facts'"
        " and build_id = (select max(build_id) from ops.build)"
    )
    return bool(found[0][0] and found[0][1])


def kkbc(*arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--why", "request 12", "--json"], input=NIK.encode())
    assert done.exit_code == 0, done
    return json.loads(done.stdout)


@pytest.fixture
def root(warehouse: str, home: Path, tmp_path: Path) -> Path:
    tokens.ensure_key(home)
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


def test_a_person_is_corrected_restricted_and_released(root: Path) -> None:
    theirs = {"no_pendaftaran": "R-2", "nik": OTHER, "nama_lengkap": "Orang Lain"}
    mine = {"nama_lengkap": "Nama Salah", "kanal": "PASAR"}
    deliver(root, {"pendaftaran": [mine, theirs], "iuran": [{}, {"id_bayar": "P-2", "nik": OTHER}], "kegiatan": [{}]})
    night(root)
    assert query("select channel_code from bi_detail.fct_registration where registration_no = 'R-1'") == [("PASAR",)]

    # Corrected by a revision of the day: vault, facts and report follow.
    mine |= {
        "nama_lengkap": "Nama Benar",
        "kanal": "RADIO",
        "status_data": "KOREKSI",
        "diubah_pada": "2023-12-11 12:00",
    }
    deliver(root, {"pendaftaran": [mine, theirs]}, revision=2)
    before = night(root)
    assert query("select full_name from vault.registrations where nik = %s", NIK) == [("Nama Benar",)]
    assert query("select channel_code from bi_detail.fct_registration where registration_no = 'R-1'") == [("RADIO",)]
    (made,) = kkbc("subject-report")
    content = json.loads(Path(made["json"]).read_text())
    assert {row["kind"]: row["values"]["full_name"] for row in content["rows"] if row["feed"] == "pendaftaran"} == {
        "in_force": "Nama Benar",
        "accepted": "Nama Salah",
    }
    assert set(content["facts"]) == set(FACTS)
    assert [publication["shown"] for publication in content["publications"]] == [True, True]
    counted, in_facts = kpis(), of_the_person()
    assert counted == [("KC001", 2, 33_600, 2, 2)]
    assert all(in_facts.values())

    # Held out: a night without any delivery takes it in.
    kkbc("restrict")
    assert night(root) == before + 1
    assert kpis() == [("KC001", 1, 16_800, 1, 1)]
    assert not any(of_the_person().values())
    assert facts_reconcile()
    assert query("select count(*) from raw.registrations") == [(2,)]
    assert all(row.equal for row in verify_against_rebuild())
    quality = query(
        "select sum(rows_sent)::int, sum(rows_accepted)::int from bi.kpi_data_quality_daily where branch_id = 'KC001'"
    )
    assert quality == [(5, 5)]

    # What comes meanwhile is stored, and not counted; the release counts all of it.
    deliver(
        root,
        {"iuran": [{}, {"id_bayar": "P-2", "nik": OTHER}, {"id_bayar": "P-3", "periode_mulai": "2024-01-11"}]},
        revision=3,
    )
    night(root)
    assert kpis() == [("KC001", 1, 16_800, 1, 1)]
    kkbc("restrict", "--release")
    night(root)
    assert kpis() == [("KC001", 2, 50_400, 2, 2)]
    assert facts_reconcile()
    assert all(row.equal for row in verify_against_rebuild())
    (made,) = kkbc("subject-report")
    content = json.loads(Path(made["json"]).read_text())
    assert [publication["shown"] for publication in content["publications"]] == [True, True, False, False, True]
