"""`expectations/` is a file context that Great Expectations opens without the project's code."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.gate.audit import CONTEXT
from kkbc.gate.limits import load_limits
from kkbc_play.stack import configuration
from tests.gate.conftest import MARTS, MODELS


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The context in a folder of its own, opened as any user of Great Expectations would."""
    import great_expectations as gx

    folder = tmp_path_factory.mktemp("project") / "expectations"
    shutil.copytree(CONTEXT, folder)
    return gx.get_context(mode="file", context_root_dir=folder)


def test_it_opens_without_any_variable(context: Any) -> None:
    assert {checkpoint.name for checkpoint in context.checkpoints.all()} == {"loaded_slices", "built_marts"}
    run = {v.name for checkpoint in context.checkpoints.all() for v in checkpoint.validation_definitions}
    assert run == {suite.name for suite in context.suites.all()}
    assert run == set(context.data_sources.get("warehouse").get_asset_names())


def test_every_expectation_says_why_and_how_badly(context: Any) -> None:
    for suite in context.suites.all():
        for expectation in suite.expectations:
            assert expectation.notes, (suite.name, expectation.expectation_type)
            assert expectation.severity in ("critical", "warning")


def test_files_are_as_great_expectations_writes_them(context: Any) -> None:
    """So that who edits through its API changes only what is meant."""
    for suite in context.suites.all():
        suite.save()
    for checkpoint in context.checkpoints.all():
        checkpoint.save()
    written = Path(context.root_directory)
    for path in CONTEXT.rglob("*.json"):
        assert (written / path.relative_to(CONTEXT)).read_text() == path.read_text(), path


def test_no_asset_reads_where_persons_are() -> None:
    source = yaml.safe_load((CONTEXT / "great_expectations.yml").read_text())["fluent_datasources"]["warehouse"]
    for name, asset in source["assets"].items():
        assert "vault" not in asset["query"], name


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


def test_primary_keys_are_those_of_the_marts(context: Any) -> None:
    query = context.data_sources.get("warehouse").get_asset("primary_keys").query
    listed = set(re.findall(r"\('(\w+)', '([^']+)'\)", query))
    assert listed == {
        (model["name"], ", ".join(model["config"]["meta"]["primary_key"]))
        for file in MARTS
        for model in yaml.safe_load((MODELS / file).read_text(encoding="utf-8"))["models"]
    }


def test_every_feed_and_every_mart_of_kpis_has_its_suite(context: Any) -> None:
    suites = {suite.name for suite in context.suites.all()}
    kpis = yaml.safe_load((MODELS / "kpis/_kpis__models.yml").read_text(encoding="utf-8"))["models"]
    assert suites >= {*feeds(), *(model["name"] for model in kpis)}


def test_every_limit_is_used_and_every_parameter_has_one(context: Any) -> None:
    used = set(re.findall(r'"\$PARAMETER": "(\w+)"', " ".join(path.read_text() for path in CONTEXT.rglob("*.json"))))
    assert used == set(load_limits().parameters)


def test_what_holds_says_so_and_is_not_critical_besides(context: Any) -> None:
    holding = [e for s in context.suites.all() for e in s.expectations if (e.meta or {}).get("gate") == "hold"]
    assert len(holding) == 2 * len(feeds("branch"))
    assert {expectation.severity for expectation in holding} == {"warning"}


def test_nothing_phones_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations and dbt by file and by environment; this Airflow has nothing to turn off."""
    from airflow.configuration import conf

    assert yaml.safe_load((CONTEXT / "great_expectations.yml").read_text())["analytics_enabled"] is False
    project = yaml.safe_load((PROJECT_ROOT / "dbt_project" / "dbt_project.yml").read_text())
    assert project["flags"]["send_anonymous_usage_stats"] is False
    stack = configuration.environment(get_settings())
    off = {"GX_ANALYTICS_ENABLED": "false", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1"}
    assert {name: stack[name] for name in off} == off
    assert not conf.has_section("usage_data_collection")
