"""Each expectation holds on an ordinary night and fails on data broken for it, naming the place and the value."""

import shutil
from pathlib import Path

import psycopg
import pytest

from kkbc.errors import GateFailed, UserError
from kkbc.quality import AuditResult, Finding, audit, gate
from kkbc.quality.gate import BUILDS_KEPT, CONTEXT

# Serial 9001, so of no one; where a slip of the pipeline might put a person.
NIK, NAME = "3172064109909001", "SITI AMINAH"

BROKEN_SLICES = {
    "update ops.slice set rows_accepted = 3 where load_id = 1": [
        "expect_column_pair_values_to_be_equal rows_sent, rows_accounted_for on pendaftaran/KC001/2023-12-10/r1:"
        " observed rows_sent 3, rows_accounted_for 4, wanted rows_sent = rows_accounted_for",
        "expect_column_pair_values_to_be_equal raw_rows, rows_accepted on pendaftaran/KC001/2023-12-10/r1:"
        " observed raw_rows 2, rows_accepted 3, wanted raw_rows = rows_accepted",
    ],
    "update ops.slice set manifest_rows = 9 where load_id = 2": [
        "expect_column_pair_values_to_be_equal manifest_rows, rows_sent where status != rejected on"
        " pendaftaran/KC001/2023-12-11/r1: observed manifest_rows 9, rows_sent 1, wanted manifest_rows = rows_sent",
    ],
    "update ops.slice set reason = 'LATE' where status = 'rejected'": [
        "expect_column_values_to_be_in_set reason on pendaftaran/KC044/2023-12-11/r1: observed LATE, wanted one of"
        " SCHEMA_VERSION, MANIFEST_BRANCH, MANIFEST_DATE, FILE_MISSING, CHECKSUM, UNREADABLE, HEADER, ROW_COUNT",
    ],
    "update ops.slice set rows_sent = 100, rows_accepted = 17, rows_quarantined = 83 where load_id = 8": [
        "expect_column_values_to_be_between quarantined_rate where rows_sent >= 20 on"
        f" pendaftaran/KC044/2023-12-10/r1: observed 0.83, wanted <= {share}"
        for share in ("0.5", "0.2")
    ],
    "insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256, rows_sent)"
    " select 'iuran', 'KC001', date '2023-12-10' - 7 * week, 1, 'loaded', 'x', 100 + week"
    " from generate_series(1, 5) as week": [
        "expect_column_values_to_be_between volume_ratio where usual_rows >= 20 on iuran/KC001/2023-12-10/r1:"
        " observed 0.009709, wanted 0.2 to 5",  # 1 / 103, the median of 101 to 105
    ],
    "update raw.contributions set _load_id = 4, payment_id = 'P1', program_code = 'JKP' where payment_id = 'P2'": [
        "expect_column_values_to_be_between of_another_load on iuran/KC001/2023-12-11/r2: observed 1, wanted <= 0",
        "expect_column_values_to_be_between keys_repeated on iuran/KC001/2023-12-11/r2: observed 1, wanted <= 0",
        "expect_column_values_to_be_in_set code where field == program_code on iuran/KC001/2023-12-11/r2:"
        " observed JKP, wanted one of JKK_JKM, JKK_JKM_JHT",
    ],
    "update raw.activities set branch_id = 'KC002', contacts = -4, activity_type = 'BAZAR'": [
        "expect_column_values_to_be_between of_another_branch on kegiatan/KC001/2023-12-10/r1: observed 1, wanted <= 0",
        "expect_column_values_to_be_between amounts_negative on kegiatan/KC001/2023-12-10/r1: observed 1, wanted <= 0",
        "expect_column_values_to_be_in_set code where field == activity_type on kegiatan/KC001/2023-12-10/r1:"
        " observed BAZAR, wanted one of PASAR, KOMUNITAS, KUNJUNGAN, RADIO, LAINNYA",
    ],
    # 17:00 UTC is 24:00 in Jakarta, which is future.
    f"update raw.registrations set registered_at = '2023-12-11 17:00Z', sex = '{NAME}' where registration_no = 'R3'": [
        "expect_column_values_to_be_between after_business_date on pendaftaran/KC001/2023-12-11/r1:"
        " observed 1, wanted <= 0",
        "expect_column_values_to_be_in_set code where field == sex on pendaftaran/KC001/2023-12-11/r1:"
        " observed (no code), wanted one of L, P",
    ],
    "update raw.registrations set registration_no = '', record_status = 'HAPUS' where registration_no = 'R2'": [
        "expect_column_values_to_be_between keys_blank on pendaftaran/KC001/2023-12-10/r1: observed 1, wanted <= 0",
        "expect_column_values_to_be_in_set code where field == record_status on pendaftaran/KC001/2023-12-10/r1:"
        " observed HAPUS, wanted one of BARU, KOREKSI, BATAL",
    ],
    f"update raw.registrations set participant_token = '{NIK}', channel_code = '{NIK}' where _branch_id = 'KC044'": [
        "expect_column_values_to_be_between tokens_malformed on pendaftaran/KC044/2023-12-10/r1:"
        " observed 1, wanted <= 0",
        "expect_column_values_to_be_in_set code where field == channel_code on pendaftaran/KC044/2023-12-10/r1:"
        " observed (no code), wanted one of KANTOR, KUNJUNGAN, PASAR, KOMUNITAS, RADIO, PERISAI, JMO, MITRA",
    ],
    "update raw.contributions set total_amount = 1 where _business_date = '2023-12-10'": [
        "expect_column_values_to_be_between amounts_unequal on iuran/KC001/2023-12-10/r1: observed 1, wanted <= 0",
    ],
}

BROKEN_MARTS = {
    "insert into next.quarantine_reasons_daily select * from next.quarantine_reasons_daily where branch_id = 'KC044'": [
        "expect_column_pair_values_to_be_equal rows, keys on quarantine_reasons_daily:"
        " observed rows 3, keys 2, wanted rows = keys",
    ],
    "update next.quarantine_reasons_daily set rows = 5 where branch_id = 'KC001'": [
        "expect_column_pair_values_a_to_be_greater_than_b rows_quarantined, rows_of_commonest_reason on"
        " pendaftaran/KC001/2023-12-10: observed rows_quarantined 1, rows_of_commonest_reason 5,"
        " wanted rows_quarantined >= rows_of_commonest_reason",
    ],
    "delete from next.kpi_data_quality_daily"
    " where (branch_id, feed, business_date) = ('KC001', 'kegiatan', '2023-12-10')": [
        "expect_column_pair_values_to_be_equal rows, wanted_rows on kpi_data_quality_daily:"
        " observed rows 11, wanted_rows 12, wanted rows = wanted_rows",
        "expect_column_values_to_not_be_null status on kegiatan/KC001/2023-12-10: observed nothing, wanted a value",
    ],
    "update next.kpi_data_quality_daily set business_date = '2023-12-12' where feed = 'kegiatan'"
    " and (branch_id, business_date) = ('KC044', '2023-12-11')": [
        "expect_column_pair_values_to_be_equal last_day, as_of on kpi_data_quality_daily:"
        " observed last_day 2023-12-12, as_of 2023-12-11, wanted last_day = as_of",
    ],
    "update next.kpi_data_quality_daily set status = 'lost', rows_sent = 3, valid_nik_rate = 1.2,"
    " contactable_rate = -0.1 where (branch_id, feed, business_date) = ('KC001', 'iuran', '2023-12-11')": [
        "expect_column_values_to_be_in_set status on iuran/KC001/2023-12-11:"
        " observed lost, wanted one of on_time, late, missing, empty, rejected",
        "expect_column_pair_values_to_be_equal rows_sent, rows_accounted_for on iuran/KC001/2023-12-11:"
        " observed rows_sent 3, rows_accounted_for 2, wanted rows_sent = rows_accounted_for",
        "expect_column_values_to_be_between valid_nik_rate on iuran/KC001/2023-12-11: observed 1.2, wanted 0 to 1",
        "expect_column_values_to_be_between contactable_rate on iuran/KC001/2023-12-11: observed -0.1, wanted 0 to 1",
    ],
    "update next.kpi_data_quality_daily set rows_accepted = 1, rows_quarantined = 0"
    " where (branch_id, feed, business_date) = ('KC044', 'iuran', '2023-12-10')": [
        "expect_column_pair_values_to_be_equal rows_accepted, loaded_accepted on iuran/KC044/2023-12-10:"
        " observed rows_accepted 1, loaded_accepted 0, wanted rows_accepted = loaded_accepted",
        "expect_column_pair_values_to_be_equal rows_quarantined, loaded_quarantined on iuran/KC044/2023-12-10:"
        " observed rows_quarantined 0, loaded_quarantined 1, wanted rows_quarantined = loaded_quarantined",
    ],
    "update next.kpi_national_daily set branches_reported = null, registrations = null, acquisitions = null,"
    " reactivations = null, contributions_idr = null where business_date = '2023-12-10'": [
        *(
            f"expect_column_values_to_not_be_null {measure} on 2023-12-10: observed nothing, wanted a value"
            for measure in ("branches_reported", "registrations", "acquisitions", "reactivations", "contributions_idr")
        ),
    ],
    "update next.kpi_national_daily set branches_expected = 1, acquisitions = -1, reactivations = -1,"
    " contributions_idr = -5, aktif = 7, activation_rate_30d = 1.5, attainment_mtd = -0.5"
    " where business_date = '2023-12-11'": [
        "expect_column_pair_values_to_be_equal participants, raw_participants on 2023-12-11:"
        " observed participants 10, raw_participants 4, wanted participants = raw_participants",
        "expect_column_pair_values_a_to_be_greater_than_b branches_expected, branches_reported on 2023-12-11:"
        " observed branches_expected 1, branches_reported 2, wanted branches_expected >= branches_reported",
        "expect_column_values_to_be_between acquisitions on 2023-12-11: observed -1, wanted >= 0",
        "expect_column_values_to_be_between reactivations on 2023-12-11: observed -1, wanted >= 0",
        "expect_column_values_to_be_between contributions_idr on 2023-12-11: observed -5, wanted >= 0",
        "expect_column_values_to_be_between activation_rate_30d on 2023-12-11: observed 1.5, wanted 0 to 1",
        "expect_column_values_to_be_between attainment_mtd on 2023-12-11: observed -0.5, wanted >= 0",
        "expect_column_pair_values_to_be_equal national, branches on aktif/2023-12-11:"
        " observed national 7, branches 1, wanted national = branches",
    ],
    "update next.kpi_branch_daily set business_date = '2023-12-09'"
    " where (branch_id, business_date) = ('KC001', '2023-12-10')": [
        "expect_column_pair_values_to_be_equal first_day, first_business_date where slice IN kpi_national_daily,"
        " kpi_branch_daily on kpi_branch_daily: observed first_day 2023-12-09, first_business_date 2023-12-10,"
        " wanted first_day = first_business_date",
        "expect_column_values_to_not_be_null registrations on KC001/2023-12-10: observed nothing, wanted a value",
    ],
    "update next.kpi_branch_daily set registrations = 9, contributions_idr = 1"
    " where (branch_id, business_date) = ('KC001', '2023-12-11')": [
        "expect_column_pair_values_to_be_equal registrations, raw_registrations on KC001/2023-12-11:"
        " observed registrations 9, raw_registrations 1, wanted registrations = raw_registrations",
        "expect_column_pair_values_to_be_equal contributions_idr, raw_contributions_idr on KC001/2023-12-11:"
        " observed contributions_idr 1, raw_contributions_idr 36800, wanted contributions_idr = raw_contributions_idr",
    ],
    "update next.kpi_branch_daily set branches_expected = 2, branches_reported = -1, aktif = -1, menunggak = -1,"
    " non_aktif = -1, belum_aktif = -1, acquisitions = -1, reactivations = -1, slices_late = 4,"
    " activation_rate_30d = 1.5, attainment_mtd = -0.5 where (branch_id, business_date) = ('KC044', '2023-12-10')": [
        "expect_column_values_to_be_between branches_expected on KC044/2023-12-10: observed 2, wanted 0 to 1",
        "expect_column_values_to_be_between branches_reported on KC044/2023-12-10: observed -1, wanted 0 to 1",
        *(
            f"expect_column_values_to_be_between {measure} on KC044/2023-12-10: observed -1, wanted >= 0"
            for measure in ("aktif", "menunggak", "non_aktif", "belum_aktif", "acquisitions", "reactivations")
        ),
        "expect_column_values_to_be_between slices_late on KC044/2023-12-10: observed 4, wanted 0 to 3",
        "expect_column_values_to_be_between activation_rate_30d on KC044/2023-12-10: observed 1.5, wanted 0 to 1",
        "expect_column_values_to_be_between attainment_mtd on KC044/2023-12-10: observed -0.5, wanted >= 0",
    ],
    "update next.kpi_branch_daily set repeat_registrations = 5"
    " where (branch_id, business_date) = ('KC044', '2023-12-11')": [
        "expect_column_pair_values_a_to_be_greater_than_b registrations, repeat_registrations on KC044/2023-12-11:"
        " observed registrations 0, repeat_registrations 5, wanted registrations >= repeat_registrations",
    ],
}


def lines(result: AuditResult) -> list[str]:
    return [line for finding in result.findings for line in finding.lines()]


def broken(night: psycopg.Connection, data: dict[str, list[str]]) -> set[str]:
    for statement in data:
        assert night.execute(statement.encode()).rowcount, statement
    return {line for found in data.values() for line in found}


def test_an_ordinary_night_passes_both_audits(
    night: psycopg.Connection, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Tiny slices with all rows bad, a rejected, an empty, a superseded and missing slices are ordinary."""
    project = {path: path.stat().st_mtime_ns for path in CONTEXT.rglob("*")}

    slices, marts = audit("loaded_slices", 1), audit("built_marts", 1)

    assert lines(slices) + lines(marts) == []
    assert all(finding.success for finding in slices.findings + marts.findings)
    recorded = night.execute(
        "select checkpoint, count(*), bool_and(success), count(slice) from ops.expectation_result"
        " where build_id = 1 group by checkpoint order by checkpoint"
    ).fetchall()
    assert recorded == [("built_marts", len(marts.findings), True, 0), ("loaded_slices", len(slices.findings), True, 0)]
    assert capfd.readouterr() == ("", "")
    assert (home / "gx" / "1" / "data_docs" / "index.html").is_file()
    assert {path: path.stat().st_mtime_ns for path in CONTEXT.rglob("*")} == project


def test_a_quiet_build_passes_and_old_results_go(night: psycopg.Connection, home: Path) -> None:
    """A build without slices judges the marts all the same, and nothing of the slices of others."""
    night.execute("update ops.slice set rows_accepted = 9 where load_id = 1")
    night.execute("alter table ops.build alter build_id restart with 50")
    night.execute("insert into ops.build (as_of, first_business_date) values ('2023-12-11', '2023-12-10')")
    for build in range(50 - BUILDS_KEPT, 50):
        (home / "gx" / str(build)).mkdir(parents=True)

    assert lines(audit("loaded_slices", 50)) == []
    assert sorted(int(path.name) for path in (home / "gx").iterdir()) == [*range(51 - BUILDS_KEPT, 51)]


def test_every_expectation_on_slices_can_fail(night: psycopg.Connection, home: Path) -> None:
    expected = broken(night, BROKEN_SLICES)

    result = audit("loaded_slices", 1)

    assert expected - set(lines(result)) == set()
    assert [finding for finding in result.findings if finding.success] == []
    assert night.execute(
        "select severity, success, observed, slice from ops.expectation_result"
        " where column_name like 'quarantined_rate%' order by severity"
    ).fetchall() == [
        ("fail", False, "0.83", "pendaftaran/KC044/2023-12-10/r1"),
        ("warn", False, "0.83", "pendaftaran/KC044/2023-12-10/r1"),
    ]
    written = [path.read_text(errors="replace") for path in (home / "gx").rglob("*") if path.is_file()]
    told = [str(result), *map(str, night.execute("select * from ops.expectation_result").fetchall())]
    assert not [text for text in written + told if NIK in text or NAME in text]


def test_every_expectation_on_marts_can_fail(night: psycopg.Connection) -> None:
    expected = broken(night, BROKEN_MARTS)

    result = audit("built_marts", 1)

    assert expected - set(lines(result)) == set()
    assert [finding for finding in result.findings if finding.success] == []


def test_a_mart_that_was_not_built_is_named(night: psycopg.Connection) -> None:
    night.execute("drop table next.quarantine_reasons_daily")

    with pytest.raises(UserError, match=r'built_marts cannot read its data: .*"next\.quarantine_reasons_daily"'):
        audit("built_marts", 1)


def test_an_expectation_that_cannot_be_judged_is_named(
    night: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = tmp_path / "expectations"
    shutil.copytree(CONTEXT, context)
    suite = context / "expectations" / "slices.json"
    suite.write_text(suite.read_text().replace('"quarantined_rate"', '"quarantine_rate"'))
    monkeypatch.setattr(gate, "CONTEXT", context)

    with pytest.raises(UserError, match=r"expect_column_values_to_be_between of suite slices .*quarantine_rate"):
        audit("loaded_slices", 1)


FAIL = Finding("slices", "expect_x", "rate", "fail", False, "<= 0.5", 3, (("iuran/KC044/2023-12-11/r1", "0.83"),))
WARN = Finding("slices", "expect_y", "volume", "warn", False, "<= 5", 1, (("iuran/KC001/2023-12-11/r1", "7"),))


def test_a_failure_stops_the_night_unless_the_gate_only_warns(home: Path) -> None:
    result = AuditResult("loaded_slices", 7, (FAIL, WARN))

    with pytest.raises(GateFailed) as stopped:
        result.raise_if_failed("fail")
    assert stopped.value.problem == (
        "the audit loaded_slices of build 7 failed 1 of 2 expectations:"
        " expect_x rate on iuran/KC044/2023-12-11/r1: observed 0.83, wanted <= 0.5 (and 2 more)"
    )
    assert f"{home}/gx/7/data_docs/index.html" in stopped.value.remedy
    result.raise_if_failed("warn")
    AuditResult("loaded_slices", 7, (WARN,)).raise_if_failed("fail")


def test_the_summary_has_one_line_an_expectation_and_failures_first() -> None:
    assert AuditResult("loaded_slices", 7, (WARN, FAIL)).summary() == {
        "checkpoint": "loaded_slices",
        "expectations": 2,
        "failed": 1,
        "to_hold": 0,
        "warned": 1,
        "lines": [
            "expect_x rate on iuran/KC044/2023-12-11/r1: observed 0.83, wanted <= 0.5 (and 2 more)",
            "expect_y volume on iuran/KC001/2023-12-11/r1: observed 7, wanted <= 5",
        ],
    }
