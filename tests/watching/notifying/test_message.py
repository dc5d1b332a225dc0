"""What the message of a night says, and what it never says."""

from datetime import date

import pytest

from kkbc.core.settings import get_settings
from kkbc.reporting.places import folder_of
from kkbc.warehouse.access_record import note_access
from kkbc.watching.notifying import notify
from kkbc.watching.notifying.facts import without_persons
from tests.watching.notifying.conftest import DAY, NIK, a_build, a_run, run


def message() -> tuple[str, str]:
    (notice,) = notify(dry_run=True)
    return notice.subject, notice.body


def test_a_bad_night_that_was_published(bad_night: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_SITE_URL", "https://airflow.example/")
    get_settings.cache_clear()
    folder_of(DAY).mkdir(parents=True)
    (folder_of(DAY) / "nasional.html").write_text("<p>")
    subject, body = message()
    assert subject == "KKBC 11-12-2023: terbit (1 kantor belum kirim, 1 slice ditahan, 1 slice ditolak)"
    lines = body.splitlines()
    assert lines[0].startswith("Data per 11-12-2023 TERBIT (publikasi 1, ")
    assert lines[1:] == [
        "Belum kirim (1 dari 5): KC003 Langsa",
        "Belum lengkap (1): KC004: kegiatan",
        "Terlambat (1 dari 5): KC002 Banda Aceh",
        "Ditahan gerbang (1): KC004 pendaftaran 2023-12-11: rows_sent 10 times as usual, like …",
        "Ditolak (1): KC004 iuran: CHECKSUM",
        "Gagal dikunjungi (1): KC003: BranchUnavailable",
        "Karantina terbanyak (baris): NIK_FORMAT 2, NIK_DATE 1",
        "Laporan: https://airflow.example/kkbc/reports/nasional?day=2023-12-11",
        "Papan cabang: https://airflow.example/kkbc/?day=2023-12-11",
        f"Hasil audit: {get_settings().home}/gx/1/data_docs/index.html",
    ]


def test_a_report_that_could_not_be_written_is_said_and_one_that_is_not_wanted_is_not(
    bad_night: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Laporan malam ini belum dapat ditulis: lihat `kkbc doctor`" in message()[1]
    monkeypatch.setenv("KKBC_REPORT_PAGES", "off")
    get_settings.cache_clear()
    assert "Laporan" not in message()[1]


def test_what_the_record_of_accesses_stands_at_goes_out_with_every_message(bad_night: str) -> None:
    assert "Catatan akses" not in message()[1]
    note_access("vault", done_by="sari", why="a question of the branch")
    ((last,),) = run("select hash from ops.access")
    assert message()[1].endswith(f"\nCatatan akses data pribadi: 1 entri, terakhir {last}")


def test_nothing_personal_and_no_host_is_in_it(bad_night: str) -> None:
    (notice,) = notify()
    kept = str(run("select subject, body, facts from ops.notification"))
    for text in (str(notice), kept):
        assert NIK not in text
        assert "cabang.example" not in text
    assert without_persons(f"a {NIK} b {'0f' * 16} c x@y.id") == "a … b … c …"


def test_a_night_that_the_gate_stopped_says_what_was_not_met_and_what_bi_shows(branches: None) -> None:
    a_run("before", date(2023, 12, 10))
    a_build("before", date(2023, 12, 10))
    a_run("r")
    build_id = a_build("r", outcome="gate_failed")
    # An audit that was run before tells no more.
    for places in (["z"], ["a", "b", "c", "d"]):
        run(
            "insert into ops.expectation_result (build_id, checkpoint, suite, expectation, severity, success, slice,"
            " told) select %s, 'built_marts', 'kpi_x', 'expect_y', 'fail', false, place,"
            " 'kpi_x rate on ' || place || ': observed ' || %s || ', wanted <= 0.5' from unnest(%s::text[]) place",
            build_id,
            NIK,
            places,
        )
    subject, body = message()
    assert subject.startswith("KKBC 11-12-2023: BELUM TERBIT (5 kantor belum kirim")
    assert (
        "BELUM TERBIT: gerbang audit menghentikan publikasi: kpi_x rate on a: observed …, wanted <= 0.5;"
        " kpi_x rate on b: observed …, wanted <= 0.5; kpi_x rate on c: observed …, wanted <= 0.5 dan 1 lagi."
        " BI tetap menampilkan data per 10-12-2023." in body
    )
    assert NIK not in body


def test_a_build_that_broke_says_where_and_shows_no_row(branches: None) -> None:
    a_run("r")
    a_build("r", outcome="failed")
    reason = f"UserError: dbt test unique_nik failed: nik={NIK}"
    run(
        "insert into ops.step (run_id, step, outcome, detail)"
        " values ('r', 'close_build', 'failed', jsonb_build_object('reason', %s::text))",
        reason,
    )
    _, body = message()
    assert "BELUM TERBIT: pembangunan 1 gagal: UserError: dbt test unique_nik failed. BI belum berisi data." in body
    assert "nik=" not in body


def test_before_the_first_night_there_is_nothing_to_tell(warehouse: str) -> None:
    assert notify() == notify(dry_run=True) == []
    a_run("r", DAY)
    assert "tidak ada pembangunan mart" in message()[1]
