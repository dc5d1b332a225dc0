"""Suites are found by where their files lie; what is wrong in one is reported with its name."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.gate import audit, suites
from kkbc.gate.suites import load_suites
from kkbc.warehouse import connect
from kkbc.warehouse.feeds import make
from tests.gate.conftest import copied_project

CHECK = "expect: [{not_null: status, why: It is there.}]"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project's suites and contracts, made the current one."""
    folder = copied_project(tmp_path / "project")
    shutil.copytree(PROJECT_ROOT / "contracts", folder / "contracts")
    monkeypatch.setenv("KKBC_CONTRACTS", str(folder / "contracts"))
    monkeypatch.setattr(suites, "PROJECT_ROOT", folder)
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


def test_a_new_feed_is_audited_for_its_one_file(project: Path, night: psycopg.Connection) -> None:
    """Its columns, key and closed lists come from its contract."""
    contract = (project / "contracts" / "kegiatan.odcs.yaml").read_text()
    contract = contract.replace("physicalName: kegiatan", "physicalName: kunjungan")
    contract = contract.replace("name: activities", "name: visits")
    (project / "contracts" / "kunjungan.odcs.yaml").write_text(contract)
    (project / "expectations" / "feeds" / "kunjungan.yml").write_text(
        "include: [every_feed, branch_feed]\n"
        "with: {day: started_on}\n"
        "expect:\n"
        "  - {one_of: code, values: contract.activity_type, where: field == activity_type, why: As in the contract.}\n"
    )
    make(night)
    night.execute(
        "insert into ops.slice (feed, branch_id, business_date, revision, status, sent_at, manifest_sha256,"
        " manifest_rows, rows_sent, rows_accepted, rows_quarantined, load_id, build_id)"
        " values ('kunjungan', 'KC001', '2023-12-10', 1, 'loaded', now(), 'x', 3, 3, 2, 0, 12, 1)"
    )

    result = audit("loaded_slices", 1)

    assert len([finding for finding in result.findings if finding.suite == "kunjungan"]) == 11 + 6 + 1
    assert [line for finding in result.findings for line in finding.lines()] == [
        "kunjungan rows_sent, rows_accounted_for on kunjungan/KC001/2023-12-10/r1:"
        " observed rows_sent 3, rows_accounted_for 2, wanted rows_sent = rows_accounted_for",
        "kunjungan raw_rows, rows_accepted on kunjungan/KC001/2023-12-10/r1:"
        " observed raw_rows 0, rows_accepted 2, wanted raw_rows = rows_accepted",
    ]


def test_a_new_mart_is_audited_for_the_file_in_its_folder(project: Path, night: psycopg.Connection) -> None:
    """Without a query of its own: the columns that it checks, of days of late, and codes but no other text."""
    folder = project / "dbt_project" / "models" / "marts" / "kpi_visits"
    folder.mkdir()
    (folder / "kpi_visits.sql").touch()
    (folder / "kpi_visits.yml").write_text(
        "models: [{name: kpi_visits, config: {meta: {publish: [bi], primary_key: [branch_id, kind, day]}}, columns: ["
        "{name: branch_id, data_type: text}, {name: kind, data_type: text}, {name: day, data_type: date},"
        " {name: visits, data_type: bigint}, {name: typed, data_type: text}]}]"
    )
    (folder / "expectations.yml").write_text(
        "with: {day: day}\n"
        "expect:\n"
        "  - {between: visits, min: 0, why: Not negative.}\n"
        "  - {one_of: kind, values: [PASAR], severity: warn, why: One of the kinds.}\n"
    )
    with connect("transformer") as conn:
        conn.execute(
            "create table next.kpi_visits (branch_id text, kind text, day date, visits bigint, typed text,"
            " primary key (branch_id, kind, day))"
        )
    night.execute(
        "insert into next.kpi_visits values ('KC001', 'PASAR', '2023-12-10', -1, 'SITI'),"
        " ('KC001', 'Siti Aminah', '2023-12-11', 1, 'SITI'), ('KC001', 'PASAR', '2023-01-01', -1, 'SITI')"
    )

    result = audit("built_marts", 1)

    assert [line for finding in result.findings for line in finding.lines()] == [
        "kpi_visits visits on KC001/PASAR/2023-12-10: observed -1, wanted >= 0",
        "kpi_visits kind on KC001/(no code)/2023-12-11: observed (no code), wanted one of PASAR",
    ]
    assert [finding.severity for finding in result.findings if not finding.success] == ["fail", "warn"]
    night.execute("alter table next.kpi_visits drop constraint kpi_visits_pkey")
    assert [str(finding) for finding in audit("built_marts", 1).findings if finding.suite == "primary_keys"] == [
        "primary_keys key, enforced_key on kpi_visits: observed key branch_id, kind, day, enforced_key none,"
        " wanted key = enforced_key"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("expect: [{not_null: status}]", r"expect\.0\.why of .*: Field required"),
        ("expect: [{why: It is there.}]", "name one of compare, between, one_of, not_null"),
        ("expect: [{not_null: a, one_of: b, values: [1], why: x}]", "name one of compare"),
        ("expect: [{between: a, why: x}]", "min or max, or both, go with between"),
        ("expect: [{not_null: a, max: 1, why: x}]", "min or max, or both, go with between"),
        ("expect: [{one_of: a, why: x}]", "values go with one_of"),
        ("expect: [{not_null: a, values: [1], why: x}]", "values go with one_of"),
        ("expect: [{compare: a > b, why: x}]", r"expect\.0\.compare of"),
        ("expect: [{not_null: a, where: b is 1, why: x}]", r"expect\.0\.where of"),
        ("expect: [{between: a, max: limit, why: x}]", r"expect\.0\.max"),
        ("expect: [{not_null: a, severity: critical, why: x}]", r"expect\.0\.severity of"),
        ("expect: [{not_empty: a, why: x}]", r"expect\.0\.not_empty of"),
        (
            "expect: [{one_of: a, values: contract.place, why: x}]",
            "values that there are not: contract.place: name one",
        ),
        ("expect: [{not_null: status, why: x}, {not_null: status, why: x}]", "says twice: x"),
        ("expect: []\nexpect: []", "is no YAML: key 'expect' comes twice"),
        (CHECK, r"checks status: name columns of the mart, or say which `query` it is"),
        ("include: [every_day]", r"every_day\.yml cannot be read"),
        (f"query: none.sql\n{CHECK}", r"asks for none\.sql, which is not in .*sql: name a file"),
        (f"query: feed.sql\nwith: {{feed: x}}\n{CHECK}", r"query feed\.sql of .* lacks something: .*undefined"),
        (f"query: broken.sql\n{CHECK}", r"broken\.sql, line 1: .*"),
    ],
)
def test_what_is_wrong_in_a_file_is_reported(project: Path, text: str, message: str) -> None:
    (project / "expectations" / "sql" / "broken.sql").write_text("{% if %}")
    path = project / "dbt_project" / "models" / "marts" / "kpi_activity" / "expectations.yml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        load_suites()
    assert str(raised.value.remedy)
    assert str(project) in raised.value.problem


def test_a_suite_without_a_query_is_for_a_mart(project: Path) -> None:
    (project / "expectations" / "all.yml").write_text(CHECK)
    with pytest.raises(UserError, match=r"all\.yml is for no published model: name its folder"):
        load_suites()


def test_two_suites_of_one_name_are_reported(project: Path) -> None:
    (project / "expectations" / "kpi_activity.yml").write_text(CHECK.replace("status", "contacts"))
    with pytest.raises(UserError, match=r"two suites are called kpi_activity: .* and .*"):
        load_suites()


def test_a_published_model_without_a_key_is_reported(project: Path) -> None:
    folder = project / "dbt_project" / "models" / "marts" / "keyless"
    folder.mkdir()
    (folder / "keyless.sql").touch()
    (folder / "keyless.yml").write_text("models: [{name: keyless, config: {meta: {publish: [bi]}}}]")
    with pytest.raises(UserError, match="model keyless is published without a primary key: add it in"):
        load_suites()
