"""The context that is built of the suites is one that Great Expectations opens without the project's code."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.gate.context import write_context
from kkbc.gate.limits import load_limits
from kkbc.gate.suites import load_suites
from kkbc_play.stack import configuration
from tests.dbt_project.properties import KPIS, PUBLISHED
from tests.gate.listing import lines_of


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the context was written to; no test writes to it."""
    folder = tmp_path_factory.mktemp("written")
    write_context(folder, load_suites())
    return folder


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The context in a folder of its own, opened as any user of Great Expectations would."""
    import great_expectations as gx

    folder = tmp_path_factory.mktemp("opened")
    write_context(folder, load_suites())
    return gx.get_context(mode="file", context_root_dir=folder)


def test_it_opens_without_any_variable(context: Any) -> None:
    assert {checkpoint.name for checkpoint in context.checkpoints.all()} == {"loaded_slices", "built_marts"}
    run = {v.name for checkpoint in context.checkpoints.all() for v in checkpoint.validation_definitions}
    assert run == {suite.name for suite in context.suites.all()}
    assert run == set(context.data_sources.get("warehouse").get_asset_names())


def test_the_expectations_are_those_of_the_list(context: Any) -> None:
    """Each with every argument and its severity; of a feed or mart that the list does not know, nothing is said."""
    text = (Path(__file__).parent / "checks.txt").read_text(encoding="utf-8")
    listed = [line for line in text.splitlines() if not line.startswith("#")]
    known = {line.split()[1] for line in listed}
    built = [line for line in lines_of(context) if line.split()[1] in known]
    assert Counter(built) == Counter(listed)
    assert len(listed) == 173


def test_every_expectation_says_why_and_how_badly(context: Any) -> None:
    for suite in context.suites.all():
        for expectation in suite.expectations:
            assert expectation.notes, (suite.name, expectation.expectation_type)
            assert expectation.severity in ("critical", "warning")


def test_files_are_as_great_expectations_writes_them(context: Any, written: Path) -> None:
    """So that what is expected is what Great Expectations has read, and nothing was lost or guessed on the way."""
    for suite in context.suites.all():
        suite.save()
    for checkpoint in context.checkpoints.all():
        checkpoint.save()
    saved = Path(context.root_directory)
    paths = [path.relative_to(written) for path in written.rglob("*.json")]
    assert len(paths) == 2 * len(load_suites()) + 2
    for path in paths:
        assert (saved / path).read_text() == (written / path).read_text(), path


def test_ids_are_the_same_in_every_build_and_in_no_file_of_the_project(written: Path, tmp_path: Path) -> None:
    write_context(tmp_path, load_suites())
    for path in written.rglob("*.*"):
        assert (tmp_path / path.relative_to(written)).read_text() == path.read_text(), path
    uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
    assert uuid.search((written / "great_expectations.yml").read_text())
    for path in [
        *(PROJECT_ROOT / "expectations").rglob("*.*"),
        *(PROJECT_ROOT / "dbt_project" / "models").rglob("expectations.yml"),
    ]:
        assert not uuid.search(path.read_text()), path


def test_no_asset_reads_where_persons_are() -> None:
    for suite in load_suites():
        assert "vault" not in suite.query, suite.name


def test_closed_lists_are_those_of_the_contracts(context: Any) -> None:
    """All of them, and none that is open: a code outside an open list is accepted with a warning."""
    for feed in feeds("branch"):
        listed = {
            expectation.row_condition.parameter: set(expectation.value_set)
            for expectation in context.suites.get(feed).expectations
            if getattr(expectation, "column", "") == "code" and expectation.row_condition.parameter != "quarantine"
        }
        closed = {
            column.name: set(check.params["values"])
            for column in load_contract(feed).columns
            for check in column.checks
            if check.check == "one_of" and check.severity == "error"
        }
        assert listed == closed
        query = context.data_sources.get("warehouse").get_asset(feed).query
        assert set(re.findall(r"\('(\w+)', combined_of_slices\.(\w+)\)", query)) == {(name, name) for name in closed}


def test_primary_keys_are_those_of_the_marts(context: Any) -> None:
    query = context.data_sources.get("warehouse").get_asset("primary_keys").query
    listed = set(re.findall(r"\('(\w+)', '([^']+)'\)", query))
    assert listed == {(name, ", ".join(model["config"]["meta"]["primary_key"])) for name, model in PUBLISHED.items()}


def test_every_feed_and_every_mart_of_kpis_has_its_suite(context: Any) -> None:
    suites = {suite.name for suite in context.suites.all()}
    assert suites >= {*feeds(), *KPIS}


def test_every_limit_is_used_and_every_parameter_has_one(written: Path) -> None:
    used = set(re.findall(r'"\$PARAMETER": "(\w+)"', " ".join(path.read_text() for path in written.rglob("*.json"))))
    assert used == set(load_limits().parameters)


def test_what_holds_says_so_and_is_not_critical_besides(context: Any) -> None:
    holding = [e for s in context.suites.all() for e in s.expectations if (e.meta or {}).get("gate") == "hold"]
    assert len(holding) == 2 * len(feeds("branch"))
    assert {expectation.severity for expectation in holding} == {"warning"}


def test_nothing_phones_home(written: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations and dbt by file and by environment; this Airflow has nothing to turn off."""
    from airflow.configuration import conf

    assert yaml.safe_load((written / "great_expectations.yml").read_text())["analytics_enabled"] is False
    project = yaml.safe_load((PROJECT_ROOT / "dbt_project" / "dbt_project.yml").read_text())
    assert project["flags"]["send_anonymous_usage_stats"] is False
    stack = configuration.environment(get_settings())
    off = {"GX_ANALYTICS_ENABLED": "false", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1"}
    assert {name: stack[name] for name in off} == off
    assert not conf.has_section("usage_data_collection")
