"""Each expectation holds on an ordinary night and fails on data broken for it, naming the place and the value."""

from pathlib import Path

import psycopg
import pytest

from kkbc.core.errors import GateFailed, UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc.gate import AuditResult, Finding, audit, suites
from kkbc.gate.audit import BUILDS_KEPT
from tests.gate.conftest import copied_project

# Serial 9001, so of no one; where a slip of the pipeline might put a person.
NIK, NAME = "3172064109909001", "SITI AMINAH"

# Statements that break a night, so that after all of them no expectation of the checkpoint is met.
BROKEN_SLICES = [
    "insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256, rows_sent, load_id)"
    " select feed, branch_id, business_date - 7 * week, 1, 'loaded', 'x', 19 + week, 0"
    " from ops.slice, generate_series(1, 5) as week where load_id in (6, 8, 9)",
    "update ops.slice set rows_sent = 200, rows_accepted = 40, rows_quarantined = 180, rows_contactable = 0,"
    " reason = 'LATE' where load_id in (6, 8, 9, 11)",
    "insert into ops.quarantine (feed, branch_id, business_date, revision, line, errors, load_id)"
    " select feed, branch_id, business_date, revision, line,"
    " case when line = 1000 then '{WEIRD}' else '{NIK_DATE}' end::text[], load_id"
    " from ops.slice, generate_series(1000, 1060) as line where load_id in (6, 8, 9, 11)",
    "insert into raw.registrations select (r).* from (select jsonb_populate_record(r, jsonb_build_object("
    "'registration_no', 'X' || n, '_line', 100 + n, 'activity_code', 'A9')) as r from raw.registrations r,"
    " generate_series(1, 24) as n where _load_id = 8) as more",
    "insert into raw.registrations select * from raw.registrations where registration_no in ('X1', 'X2')",
    # 17:00 UTC is 24:00 in Jakarta, which is future.
    "update raw.registrations set _load_id = 4, branch_id = 'KC002', registered_at = '2023-12-10 17:00Z',"
    f" months_covered = -1, participant_token = '{NIK}', updated_at = '2023-12-12', sex = '{NAME}',"
    " program_code = 'JKP', channel_code = 'TOKO', record_status = 'LAMA' where registration_no = 'X1'",
    "update raw.registrations set registration_no = '' where registration_no = 'X3'",
    "insert into raw.contributions select (r).* from (select jsonb_populate_record(r, jsonb_build_object("
    "'payment_id', 'X', '_line', 100 + n, '_branch_id', 'KC044', 'branch_id', 'KC002', 'paid_at', '2023-12-10 17:00Z',"
    " 'total_amount', -1, 'participant_token', 'SITI', 'updated_at', '2023-12-12', 'program_code', 'JKP',"
    " 'record_status', 'LAMA')) as r from raw.contributions r, generate_series(1, 24) as n where payment_id = 'P1'"
    " and _business_date = '2023-12-10') as more",
    "update raw.contributions set payment_id = '' where _line = 101",
    "insert into raw.activities select (r).* from (select jsonb_populate_record(r, jsonb_build_object("
    "'activity_code', 'X', '_line', 100 + n, '_load_id', 4, 'branch_id', 'KC002', 'started_at', '2023-12-10 17:00Z',"
    " 'contacts', -4, 'updated_at', '2023-12-12', 'activity_type', 'BAZAR', 'record_status', 'LAMA')) as r"
    " from raw.activities r, generate_series(1, 24) as n) as more",
    "update raw.activities set activity_code = '' where _line = 101",
    "insert into raw.targets select (r).* from (select jsonb_populate_record(r, jsonb_build_object("
    "'branch_id', code, '_load_id', 4, 'target_new', -1)) as r from raw.targets r,"
    " unnest(array['KC999', 'KC999', '']) as code) as more",
]
FAILURES_OF_SLICES = [
    "iuran rows_sent, rows_accounted_for on iuran/KC044/2023-12-10/r1:"
    " observed rows_sent 200, rows_accounted_for 220, wanted rows_sent = rows_accounted_for",
    "pendaftaran raw_rows, rows_accepted on pendaftaran/KC044/2023-12-10/r1:"
    " observed raw_rows 27, rows_accepted 40, wanted raw_rows = rows_accepted",
    "pendaftaran new_quarantined_rate where rows_sent >= 20 on"
    " pendaftaran/KC044/2023-12-10/r1: observed 0.9, wanted <= 0.8",
    "kegiatan new_volume_over_most where rows_sent >= 50 on"
    " kegiatan/KC001/2023-12-10/r1: observed 8.333, wanted <= 5",  # 200 / 24
    "iuran volume_ratio where usual_rows >= 20 on iuran/KC044/2023-12-10/r1:"
    " observed 9.091, wanted 0.2 to 5",  # 200 / 22
    "target code_share on target/HQ/2023-12-10/r1/NIK_DATE: observed 0.3, wanted 0 to 0.2",
    "pendaftaran after_business_date on pendaftaran/KC044/2023-12-10/r1: observed 2, wanted <= 0",
    "pendaftaran code where field == sex on pendaftaran/KC044/2023-12-10/r1: observed (no code), wanted one of L, P",
]

BROKEN_MARTS = [
    # Two whole months come before, of which the second is ten times the first.
    "update ops.build set first_business_date = '2023-10-01'",
    "insert into next.kpi_branch_daily select 'KC044', day::date, 1, 1, 100 * case extract(month from day) when 10 then"
    " 1 else 10 end, 0, 0, 1000, 0, 0, 0, 100 * case extract(month from day) when 10 then 1 else 10 end, null, null, 0,"
    " 0, 0, 0, 0, 0 from generate_series(timestamp '2023-10-02', '2023-11-30', '1 day') as day",
    "insert into next.kpi_national_daily select business_date, 1, 1, registrations, 0, 0, aktif, 0, 0, 0,"
    " contributions_idr, null, null from next.kpi_branch_daily where business_date < '2023-12-01'",
    "update next.kpi_national_daily set aktif = 2000 where business_date = '2023-11-30'",
    "delete from next.kpi_national_daily where business_date = '2023-12-11'",
    "insert into next.kpi_national_daily values ('2023-12-11', 10, -1, -1, -1, -1, -2, 0, 0, 3, -5, 1.5, -0.5),"
    " ('2023-12-12', 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, null, null)",
    "delete from next.fct_registration where registration_no = 'R3'",
    "update next.fct_contribution set total_amount = 1",
    "update next.int_registrations_in_force set updated_at = '2023-12-01' where registration_no = 'R2'",
    "insert into next.fct_contribution (branch_id, payment_id, paid_on, total_amount) values ('KC001', 'P1',"
    " '2023-12-11', 5)",
    "update next.kpi_branch_daily set branches_expected = 2, branches_reported = -1, aktif = -1, menunggak = -1,"
    " non_aktif = -1, belum_aktif = -1, acquisitions = -1, reactivations = -1, slices_late = 4, registrations = 1,"
    " activation_rate_30d = 1.5, attainment_mtd = -0.5, repeat_registrations = 5"
    " where (branch_id, business_date) = ('KC001', '2023-12-11')",
    "insert into next.kpi_branch_daily (branch_id, business_date) values ('KC044', '2023-12-12')",
    "update next.kpi_data_quality_daily set rows_sent = 5, valid_nik_rate = 1.2, contactable_rate = -0.1,"
    " status = 'lost', rows_accepted = 7, rows_quarantined = 9"
    " where (branch_id, feed, business_date) = ('KC001', 'iuran', '2023-12-10')",
    "delete from next.kpi_data_quality_daily"
    " where (branch_id, feed, business_date) = ('KC001', 'kegiatan', '2023-12-10')",
    "update next.kpi_data_quality_daily set business_date = '2023-12-12' where feed = 'kegiatan'"
    " and (branch_id, business_date) = ('KC044', '2023-12-11')",
    f"insert into next.quarantine_reasons_daily values ('KC001', 'iuran', '2023-12-11', '{NAME}', 3),"
    " ('KC001', 'kegiatan', '2023-12-11', 'NIK_DATE', 0)",
    "update next.kpi_channel_daily set channel_code = 'TOKO', registrations = -1, acquisitions = -1,"
    " activation_days_sum = -1, activation_days_count = 1, activated_30d = 1 where channel_code = 'JMO'",
    "update next.kpi_activity set contacts = -1, registrations = -1, acquisitions = -1, cost_per_acquisition = -1",
    "insert into next.fct_activity (branch_id, activity_code, contacts) values ('KC001', 'A2', 1)",
    "insert into next.kpi_radio_lift values ('KC044', '2023-12-12', -1, -3, -2)",
    "insert into next.int_participants_restricted"
    " select participant_token, true, false from raw.registrations where registration_no = 'R1'",
    "insert into next.kpi_retention values ('2023-10-01', 'KC001', 'PASAR', 2, 0, -1),"
    " ('2023-10-01', 'KC044', 'PASAR', 1, 3, 4)",
    "insert into next.kpi_target_monthly (branch_id, month, target_new, realisation_new, realisation_active,"
    " realisation_idr, attainment_new, rank) values ('KC044', '2023-11-01', -1, 7, 7, 7, -1, 0),"
    " ('KC001', '2023-11-01', 1, 0, 0, 0, 0, 3)",
    "insert into next.kpi_coverage_province (province_code, month_end, aktif, informal_workers, coverage_pct,"
    " attribution_rule) values ('32', '2023-11-30', 5000, 10, 101, 'residence'), ('33', '2023-11-30', -1, 1, 1, '')",
    "insert into next.kpi_occupation_monthly values ('KC044', 'NELAYAN', '2023-11-01', -1, 1, 1)",
    "update next.branch_standing set last_good_date = '2023-12-12', slices_held = 2 where branch_id = 'KC044'",
    "alter table next.kpi_activity drop constraint kpi_activity_pkey",
]
FAILURES_OF_MARTS = [
    "primary_keys key, enforced_key on kpi_activity: observed key branch_id, activity_code,"
    " enforced_key none, wanted key = enforced_key",
    "kpi_national_daily last_day, as_of on kpi_national_daily:"
    " observed last_day 2023-12-12, as_of 2023-12-11, wanted last_day = as_of",
    "kpi_national_daily participants, known_participants on 2023-12-11:"
    " observed participants 1, known_participants 4, wanted participants = known_participants",
    "facts idr, fact_idr on iuran/KC001/2023-12-11/r2: observed idr 36800, fact_idr 1, wanted idr = fact_idr",
    "kpi_branch_daily contributions_idr, fact_idr on KC001/2023-12-11:"
    " observed contributions_idr 36800, fact_idr 6, wanted contributions_idr = fact_idr",
    "kpi_branch_daily month_on_month on KC044/registrations/2023-11: observed 10, wanted 0.33 to 3",
    "kpi_target_monthly rank_out_of_range on KC001/2023-11: observed 1, wanted <= 0",
    "kpi_target_monthly rank_out_of_range on KC044/2023-11: observed 1, wanted <= 0",
    "kpi_data_quality_daily status on kegiatan/KC001/2023-12-10: observed nothing, wanted a value",
    "branch_standing slices_held, slices_on_hold on KC044:"
    " observed slices_held 2, slices_on_hold 0, wanted slices_held = slices_on_hold",
]


def lines(result: AuditResult) -> list[str]:
    return [line for finding in result.findings for line in finding.lines()]


def broken(night: psycopg.Connection, statements: list[str]) -> None:
    for statement in statements:
        assert night.execute(statement.encode()).rowcount, statement


def test_an_ordinary_night_passes_both_audits(
    night: psycopg.Connection, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Tiny slices with all rows bad, a rejected, an empty, a superseded and missing slices are ordinary."""
    project = _files_of_suites()

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
    assert _files_of_suites() == project


def _files_of_suites() -> dict[Path, int]:
    folders = (PROJECT_ROOT / "expectations", PROJECT_ROOT / "dbt_project" / "models")
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


def test_a_quiet_build_passes_and_old_results_go(night: psycopg.Connection, home: Path) -> None:
    """A build without slices judges the marts all the same, and nothing of the slices of others."""
    night.execute("update ops.slice set rows_accepted = 9 where load_id = 1")
    night.execute("alter table ops.build alter build_id restart with 50")
    night.execute("insert into ops.build (as_of, first_business_date) values ('2023-12-11', '2023-12-10')")
    for build in range(50 - BUILDS_KEPT, 50):
        (home / "gx" / str(build)).mkdir(parents=True)

    assert lines(audit("loaded_slices", 50)) == []
    assert sorted(int(path.name) for path in (home / "gx").iterdir()) == [*range(51 - BUILDS_KEPT, 51)]


def test_what_comes_unexpected_has_its_row_too(night: psycopg.Connection, home: Path) -> None:
    """Of a branch that the registry lacks, or of days before it was active: what was delivered, and no more."""
    night.execute("update ops.branch set active_from = '2023-12-11' where branch_id = 'KC044'")
    night.execute("delete from ops.branch where branch_id = 'KC001'")
    unwanted = "(branch_id, feed, business_date) = ('KC044', 'kegiatan', '2023-12-10')"

    assert counted_rows() == [
        "kpi_data_quality_daily rows, wanted_rows on kpi_data_quality_daily:"
        " observed rows 12, wanted_rows 11, wanted rows = wanted_rows"
    ]
    night.execute(f"delete from next.kpi_data_quality_daily where {unwanted}".encode())
    assert counted_rows() == []


def counted_rows() -> list[str]:
    return [line for line in lines(audit("built_marts", 1)) if "wanted_rows" in line]


def test_every_expectation_on_slices_can_fail(night: psycopg.Connection, home: Path) -> None:
    broken(night, BROKEN_SLICES)

    result = audit("loaded_slices", 1)

    assert [(finding.suite, finding.column) for finding in result.findings if finding.success] == []
    assert set(FAILURES_OF_SLICES) - set(lines(result)) == set()
    assert night.execute(
        "select severity, success, observed, slice, told from ops.expectation_result"
        " where suite = 'pendaftaran' and column_name like '%quarantined_rate%' order by severity"
    ).fetchall() == [
        (
            severity,
            False,
            "0.9",
            place,
            f"pendaftaran {column} where rows_sent >= 20 on {place}: observed 0.9, wanted {limit}",
        )
        for place in ["pendaftaran/KC044/2023-12-10/r1"]
        for severity, column, limit in [
            ("hold", "new_quarantined_rate", "<= 0.8"),
            ("warn", "quarantined_rate", "<= 0.2"),
        ]
    ]
    assert_nobody_is_named(night, home, result)


def test_every_expectation_on_marts_can_fail(night: psycopg.Connection, home: Path) -> None:
    broken(night, BROKEN_MARTS)

    result = audit("built_marts", 1)

    assert [(finding.suite, finding.column) for finding in result.findings if finding.success] == []
    assert set(FAILURES_OF_MARTS) - set(lines(result)) == set()
    assert_nobody_is_named(night, home, result)


def assert_nobody_is_named(night: psycopg.Connection, home: Path, result: AuditResult) -> None:
    """Nowhere that results go is there anything of what a slip of the pipeline may have put in a column."""
    written = [path.read_text(errors="replace") for path in (home / "gx").rglob("*") if path.is_file()]
    texts = [str(result), *map(str, night.execute("select * from ops.expectation_result").fetchall())]
    assert written
    assert not [text for text in written + texts if NIK in text or NAME in text]


def test_a_mart_that_was_not_built_is_named(night: psycopg.Connection) -> None:
    night.execute("drop table next.quarantine_reasons_daily")

    with pytest.raises(UserError, match=r'built_marts cannot read its data: .*"next\.quarantine_reasons_daily"'):
        audit("built_marts", 1)


def test_an_expectation_that_cannot_be_judged_is_named(
    night: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copied_project(tmp_path)
    shared = project / "expectations" / "shared" / "every_feed.yml"
    shared.write_text(shared.read_text().replace("between: quarantined_rate", "between: quarantine_rate"))
    monkeypatch.setattr(suites, "PROJECT_ROOT", project)

    with pytest.raises(UserError, match=r"expect_column_values_to_be_between of suite iuran .*quarantine_rate"):
        audit("loaded_slices", 1)


FAIL = Finding("slices", "expect_x", "rate", "fail", False, "<= 0.5", 3, (("iuran/KC044/2023-12-11/r1", "0.83"),))
WARN = Finding("slices", "expect_y", "volume", "warn", False, "<= 5", 1, (("iuran/KC001/2023-12-11/r1", "7"),))


def test_a_failure_stops_the_night_unless_the_gate_only_warns(home: Path) -> None:
    result = AuditResult("loaded_slices", 7, (FAIL, WARN))

    with pytest.raises(GateFailed) as stopped:
        result.raise_if_failed("fail")
    assert stopped.value.problem == (
        "the audit loaded_slices of build 7 failed 1 of 2 expectations:"
        " slices rate on iuran/KC044/2023-12-11/r1: observed 0.83, wanted <= 0.5 (and 2 more)"
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
            "slices rate on iuran/KC044/2023-12-11/r1: observed 0.83, wanted <= 0.5 (and 2 more)",
            "slices volume on iuran/KC001/2023-12-11/r1: observed 7, wanted <= 5",
        ],
    }
