"""A branch office that opens: one line in the registry, and its figures are in the marts like those of the others."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, LiteralString

import pytest
import yaml
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.offices import rows as reference
from kkbc.exchange.offices import serving
from kkbc.exchange.registry import Registry, load_registry
from kkbc.nights import RunRequest, plain
from kkbc.upkeep.scaffold.branch import add_branch
from kkbc.warehouse import connect, server
from kkbc.watching.board.night import branch_states
from kkbc_play.simulator.reference import load
from tests.dbt_project.conftest import current, warehouse
from tests.upkeep.scaffold.deliveries import send

BEFORE, OPENED = date(2023, 12, 10), date(2023, 12, 11)
OLD = ("KC001", "KC044", "KC069")
NEW, REGENCY, LEFT_BY = "KC123", "3203", "KC069"
LINE = (
    "  - {branch_id: KC123, kind: file, timezone: Asia/Jakarta, tier: 2, name: Cianjur, seat: '3203',"
    " regencies: ['3203'], active_from: 2023-12-11}\n"
)
SUMS = "registrations, acquisitions, reactivations, aktif, menunggak, non_aktif, belum_aktif, contributions_idr"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the registry, made that of the settings."""
    yield from a_registry(tmp_path, monkeypatch)


def a_registry(folder: Path, monkeypatch: pytest.MonkeyPatch, offices: tuple[str, ...] | None = None) -> Iterator[Path]:
    """A copy of the registry with all offices or some, made that of the settings."""
    path = folder / "branches.yml"
    lines = (PROJECT_ROOT / "config" / "branches.yml").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if offices is None or "id: KC" not in line or any(o in line for o in offices)]
    path.write_text("".join(kept), encoding="utf-8")
    monkeypatch.setenv("KKBC_REGISTRY", str(path))
    get_settings.cache_clear()
    load_registry.cache_clear()
    yield path
    monkeypatch.undo()
    get_settings.cache_clear()
    load_registry.cache_clear()


@pytest.fixture(scope="module")
def opened(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Any, ...]]]:
    """A night of three branches, and one after a fourth has opened; yields what BI had of the branches before."""
    root = tmp_path_factory.mktemp("deliveries")
    with (
        warehouse(pg, tmp_path_factory) as environment,
        current(environment),
        pytest.MonkeyPatch.context() as patch,
    ):
        registered = a_registry(tmp_path_factory.mktemp("registry"), patch, OLD)
        next(registered)
        for branch_id in OLD:
            send(root, branch_id, BEFORE)
        run(root, BEFORE)
        before = figures()
        add_branch(NEW, "Cianjur", [REGENCY], active_from=OPENED)
        for branch_id in (*OLD, NEW):
            send(root, branch_id, OPENED)
        run(root, OPENED)
        yield before
        next(registered, None)


def run(root: Path, day: date) -> None:
    plain.run_night(RunRequest(day, root, first_business_date=BEFORE, gate="fail"), lambda *_: None)


def rows(query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    with connect("auditor") as conn:
        return conn.execute(query, values).fetchall()


def figures() -> list[tuple[Any, ...]]:
    """What BI has of the old branches on the day before the new one opened."""
    return rows(
        "select k.branch_id, k.registrations, k.acquisitions, k.aktif, k.contributions_idr, k.branches_expected,"
        " k.activities, k.contacts, d.branch_name, d.kanwil_id, d.province_code, d.regency_code, d.lat, d.lng"
        " from bi.kpi_branch_daily k join bi.dim_branch d using (branch_id)"
        " where business_date = %s and branch_id = any(%s) order by 1",
        BEFORE,
        list(OLD),
    )


def test_one_line_is_written_and_all_others_stay(registry: Path) -> None:
    before = registry.read_text(encoding="utf-8")
    added = add_branch(NEW, "Cianjur", [REGENCY], active_from=OPENED)
    assert registry.read_text(encoding="utf-8") == before + LINE
    assert added.taken_from == {REGENCY: LEFT_BY}
    assert load_registry().get(NEW) == added.branch


def test_the_new_office_is_described_by_its_line(opened: list[tuple[Any, ...]]) -> None:
    (seat,) = [row for row in reference("regencies") if row["code"] == REGENCY]
    found = rows(
        "select branch_name, name_status, kanwil_id, kanwil_name, province_code, province_code_2021, regency_code,"
        " regency_name, lat, lng, is_registered, active_from from bi.dim_branch where branch_id = %s",
        NEW,
    )
    place = (float(seat["lat"]), float(seat["lng"]))
    assert found == [("Cianjur", None, "KW06", "Jawa Barat", "32", "32", REGENCY, seat["name"], *place, True, OPENED)]
    (tile,) = [branch for branch in branch_states(OPENED).branches if branch.branch_id == NEW]
    assert (tile.branch_name, tile.kanwil_name, tile.state) == ("Cianjur", "Jawa Barat", "on_time")


def test_its_figures_are_in_all_marts(opened: list[tuple[Any, ...]]) -> None:
    days = rows(
        "select business_date, branches_expected, branches_reported, registrations, acquisitions, contributions_idr"
        " from bi.kpi_branch_daily where branch_id = %s order by 1",
        NEW,
    )
    assert days == [(BEFORE, 0, 0, 0, 0, 0), (OPENED, 1, 1, 2, 1, 16_800)]
    tables = rows(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'branch_id'"
        " where c.relnamespace = 'bi'::regnamespace and c.relkind = 'r' and c.relname ~ '^(kpi|dim|branch)_' order by 1"
    )
    # Without spots, targets, and cohorts whose month is past there is nothing to say of any branch.
    silent = {"kpi_radio_lift", "kpi_target_monthly", "kpi_retention"}
    for (table,) in tables:
        with connect("auditor") as conn:
            having = {branch for (branch,) in conn.execute(f"select distinct branch_id from bi.{table}".encode())}
        assert having == (set() if table in silent else {*OLD, NEW}), table


def test_nothing_of_the_others_changes_and_the_nation_is_their_sum(opened: list[tuple[Any, ...]]) -> None:
    assert figures() == opened
    national = rows(f"select business_date, {SUMS} from bi.kpi_national_daily order by 1".encode())  # type: ignore[arg-type]
    sums = ", ".join(f"sum({name})" for name in SUMS.split(", "))
    assert national == rows(f"select business_date, {sums} from bi.kpi_branch_daily group by 1 order by 1".encode())  # type: ignore[arg-type]
    assert rows("select branches_expected, registrations from bi.kpi_national_daily order by business_date") == [
        (3, 6),
        (4, 8),
    ]


def test_a_regency_goes_over_to_the_new_office(registry: Path) -> None:
    before, played = serving(load_registry()), load()
    add_branch(NEW, "Cianjur", [REGENCY])
    after, replayed = serving(load_registry()), load()
    assert {code: branch for code, branch in after.items() if before[code] != branch} == {REGENCY: NEW}
    districts = {code for code in played.branches[LEFT_BY].districts if code.startswith(REGENCY)}
    assert districts
    assert set(replayed.branches[NEW].districts) == districts
    assert set(replayed.branches[LEFT_BY].districts) == set(played.branches[LEFT_BY].districts) - districts
    assert sum(branch.share for branch in replayed.branches.values()) == pytest.approx(1)
    # The people of its province are shared by one office more; those of others are not.
    same = [b for b in played.branches.values() if b.province_code != "32"]
    assert [replayed.branches[b.branch_id].share for b in same] == [b.share for b in same]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["KC044", "--name", "X", "--regencies", "3203"], "branch 'KC044' is in the registry already"),
        (["HQ", "--name", "X", "--regencies", "3203"], "branch 'HQ' is in the registry already"),
        (["KC12", "--name", "X", "--regencies", "3203"], "'KC12' cannot be the code of a branch: write KC and three"),
        (["kc123", "--name", "X", "--regencies", "3203"], "'kc123' cannot be the code of a branch: write KC and three"),
        ([NEW, "--name", "X", "--regencies", "Cianjur"], "'Cianjur' cannot be the code of a regency: take its four"),
        ([NEW, "--name", "banda aceh", "--regencies", "3203"], "branch KC002 is called Banda Aceh already: give"),
        ([NEW, "--name", " ", "--regencies", "3203"], "branch 'KC123': name: String should have at least 1 character"),
        ([NEW, "--name", "X", "--regencies", ","], "branch 'KC123' serves no regency"),
        ([NEW, "--name", "X", "--regencies", "9999"], "KC123: there is no regency 9999"),
        ([NEW, "--name", "X", "--regencies", "3203,3203"], "regency 3203 is listed twice at KC123"),
        ([NEW, "--name", "X", "--regencies", "3203", "--seat", "1"], "'1' cannot be the code of a regency"),
        ([NEW, "--name", "X", "--regencies", "3203", "--kind", "ftp"], "branch 'KC123': kind: Input should be"),
        ([NEW, "--name", "X", "--regencies", "3203", "--kind", "sftp"], "kind sftp needs a connection"),
        ([NEW, "--name", "X", "--regencies", "3203", "--tier", "4"], "branch 'KC123': tier: Input should be 1, 2 or 3"),
        (
            [NEW, "--name", "X", "--regencies", "3203", "--place", "91", "0"],
            "branch 'KC123': lat: Input should be",
        ),
    ],
)
def test_a_mistake_is_reported_and_nothing_is_written(registry: Path, arguments: list[str], message: str) -> None:
    before = registry.read_text(encoding="utf-8")
    outcome = CliRunner().invoke(app, ["new", "branch", *arguments])
    assert isinstance(outcome.exception, UserError)
    assert message in str(outcome.exception)
    assert registry.read_text(encoding="utf-8") == before


def test_the_name_of_an_office_that_was_added_is_taken(registry: Path) -> None:
    add_branch(NEW, "Cianjur", [REGENCY])
    with pytest.raises(UserError, match=f"branch {NEW} is called Cianjur already"):
        add_branch("KC124", "Cianjur", ["3202"])


def test_a_regency_is_given_once(registry: Path) -> None:
    add_branch(NEW, "Cianjur", [REGENCY])
    before = registry.read_text(encoding="utf-8")
    with pytest.raises(UserError, match=f"regency {REGENCY} is given to both {NEW} and KC124"):
        add_branch("KC124", "Pelabuhan Ratu", ["3202", REGENCY])
    assert registry.read_text(encoding="utf-8") == before


def test_a_file_that_does_not_end_with_its_list_is_left_alone(registry: Path) -> None:
    registry.write_text(registry.read_text(encoding="utf-8").replace("branches:\n", "branches: [\n") + "]\n")
    with pytest.raises(UserError):
        add_branch(NEW, "Cianjur", [REGENCY])


def test_the_registry_that_is_shipped_has_122_offices() -> None:
    document = yaml.safe_load((PROJECT_ROOT / "config" / "branches.yml").read_text(encoding="utf-8"))
    assert len(Registry.model_validate(document).offices) == len(reference("branches")) == 122
