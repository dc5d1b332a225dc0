"""What the tasks of the DAGs do with what Airflow hands them: the files only wire them, kkbc.nights.tasks decides."""

import ast
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowSkipException

from kkbc import nights
from kkbc.core import tokens
from kkbc.core.clock import JAKARTA
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.registry import load_registry
from kkbc.nights import tasks
from kkbc.warehouse import connect
from tests.dags.conftest import DAGS
from tests.deliveries import deliver

DAY = date(2023, 12, 11)
SLICES = Asset("kkbc.slices")
# What a task would have to be written with to decide anything by itself.
DECIDES = (
    *(ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.With, ast.Match, ast.BoolOp, ast.Compare),
    *(ast.Assign, ast.AugAssign, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.Dict),
)


def task_functions(source: str) -> Iterator[ast.FunctionDef]:
    """The functions that are tasks, by their decorator."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            names = [ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list]
            if "task" in names:
                yield node


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_a_task_is_an_import_and_a_call_and_decides_nothing(path: Path) -> None:
    found = list(task_functions(path.read_text()))
    assert found
    for function in found:
        body = [node for statement in function.body for node in ast.walk(statement)]
        decisions = [ast.unparse(node) for node in body if isinstance(node, DECIDES)]
        assert decisions == [], function.name
        assert isinstance(function.body[0], ast.ImportFrom), function.name


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_a_file_has_no_functions_but_its_dag_and_tasks(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    tasks_of_file = {function.name for function in task_functions(path.read_text())}
    assert {function.name for function in functions} == tasks_of_file | {path.stem}


@pytest.fixture
def root(warehouse: str, home: Path, tmp_path: Path) -> Path:
    tokens.ensure_key(home)
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


def call(dags: dict[str, DAG], dag_id: str, task_id: str) -> Any:
    return dags[dag_id].get_task(task_id).python_callable


def params(dags: dict[str, DAG], dag_id: str, **given: Any) -> dict[str, Any]:
    """The parameters of a run, those that are not given as the DAG has them."""
    return {name: param.value for name, param in dags[dag_id].params.items()} | given


def dag_run(run_id: str, run_type: str = "manual", at: datetime | None = None) -> SimpleNamespace:
    return SimpleNamespace(run_id=run_id, run_type=run_type, logical_date=at, triggering_user_name="admin")


def task_instance(try_number: int = 1, max_tries: int = 2) -> SimpleNamespace:
    """A try of a mapped task that Airflow tries twice more; a cleared one has its tries anew."""
    return SimpleNamespace(try_number=try_number, max_tries=max_tries, task=SimpleNamespace(retries=2))


def query(statement: str) -> list[Any]:
    with connect() as conn:
        return conn.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("asked", [[], None, ["KC122"], ["KC122", "HQ"]])
def test_one_branch_can_be_visited_alone(dags: dict[str, DAG], root: Path, asked: list[str] | None) -> None:
    open_run = call(dags, "pull_branches", "open_run")
    given = params(dags, "pull_branches", source_root=str(root), as_of=str(DAY))
    everyone = [branch.branch_id for branch in load_registry().branches]
    groups = open_run(params=given | {"branches": asked}, dag_run=dag_run("r"))
    assert sorted(chain(*groups)) == sorted(name for name in everyone if name in (asked or everyone))
    assert len(groups) == min(get_settings().pull_groups, len(asked or everyone))
    with pytest.raises(UserError, match="'KC777' is not in the registry"):
        open_run(params=given | {"branches": ["KC777"]}, dag_run=dag_run("other"))
    # A branch that is none is a mistake, before anything is noted.
    assert query("select run_id, branch_ids from ops.run") == [("r", asked or [])]


def test_the_parameters_of_a_run_are_its_request(dags: dict[str, DAG], root: Path) -> None:
    asked = {
        "as_of": "2023-12-11",
        "source_root": str(root),
        "ways": {"KC001": "http:api_1"},
        "first_business_date": "2023-12-01",
        "gate": "warn",
        "full_refresh": True,
    }
    call(dags, "pull_branches", "open_run")(params=params(dags, "pull_branches", **asked), dag_run=dag_run("r"))
    assert query(
        "select as_of, source_root, ways, first_business_date, gate, full_refresh, mode, reread_since from ops.run"
    ) == [(DAY, str(root), {"*": "file", "KC001": "http:api_1"}, date(2023, 12, 1), "warn", True, "airflow", None)]


def test_folders_that_are_not_pulled_are_named_by_the_roll_up(dags: dict[str, DAG], root: Path) -> None:
    (root / "KC999").mkdir()
    given = params(dags, "pull_branches", source_root=str(root), as_of=str(DAY), branches=["KC001"])
    call(dags, "pull_branches", "open_run")(params=given, dag_run=dag_run("r"))
    call(dags, "pull_branches", "pull_group")(["KC001"], run_id="r", ti=task_instance())
    (note,) = tasks.close_pull("r", lambda extra: None)["notes"]
    assert note.startswith("folder 'KC999' has no registry entry")


def test_a_run_of_a_backfill_stands_for_its_day_and_the_first_of_a_day_does_the_work(
    dags: dict[str, DAG], root: Path
) -> None:
    deliver(root, {"pendaftaran": [{}]}, branch_id="KC001", day=DAY)
    open_run, given = call(dags, "pull_branches", "open_run"), params(dags, "pull_branches")
    latest = DAY + timedelta(days=3)
    open_run(params=given | {"source_root": str(root), "as_of": str(latest)}, dag_run=dag_run("night"))
    nights.pull_branch("night", "KC001")
    first, second = (datetime(2023, 12, 12, hour, 35, tzinfo=JAKARTA) for hour in (0, 1))
    with pytest.raises(AirflowSkipException, match="the first run of its day does the work for 2023-12-11"):
        open_run(params=given, dag_run=dag_run("skipped", "backfill", second))
    assert open_run(params=given | {"gate": "warn"}, dag_run=dag_run("landing", "backfill", first)) == [["KC001"]]
    assert open_run(params=given | {"branches": ["KC002"]}, dag_run=dag_run("none", "backfill", first)) == []
    asked = given | {"reread": "branches", "source_root": str(root), "branches": ["KC002"]}
    assert open_run(params=asked, dag_run=dag_run("branches", "backfill", first)) == [["KC002"]]
    assert query(
        "select run_id, as_of, gate, reread_since, reread_until, requested_by from ops.run"
        " where run_id in ('landing', 'branches', 'skipped') order by 1"
    ) == [
        ("branches", latest, None, None, None, None),
        ("landing", latest, "warn", DAY, DAY, "airflow admin"),
    ]


@pytest.mark.parametrize(
    ("try_number", "max_tries", "is_retry"),
    [(1, 2, False), (2, 2, True), (3, 2, True), (4, 5, False), (5, 5, True), (2, 3, False)],
)
def test_airflows_retry_of_a_group_is_told_from_a_task_that_a_person_cleared(
    monkeypatch: pytest.MonkeyPatch, try_number: int, max_tries: int, is_retry: bool
) -> None:
    called: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.groups, "pull_group", lambda *arguments, **named: called.append(named))
    tasks.pull_group("r", ["KC001"], task_instance(try_number, max_tries), print)
    assert called == [{"is_retry": is_retry, "show_label": print}]


def test_a_night_without_any_branch_is_not_built_and_its_alert_is_on_record(dags: dict[str, DAG], root: Path) -> None:
    given = params(dags, "pull_branches", source_root=str(root), as_of=str(DAY), branches=["KC001", "KC002"])
    given["ways"] = {"*": "http:nowhere"}
    (group, other) = call(dags, "pull_branches", "open_run")(params=given, dag_run=dag_run("r"))
    with pytest.raises(UserError, match="1 of 1 branches not pulled"):
        tasks.pull_group("r", group, task_instance(), lambda label: None)
    announced: list[dict[str, Any]] = []
    with pytest.raises(UserError, match="1 of 1 branches not pulled"):
        tasks.pull_group("r", other, task_instance(), lambda label: None)
    with pytest.raises(UserError, match="no branch could be pulled"):
        tasks.close_pull("r", announced.append)
    assert announced == []
    ((alert,),) = query("select alert from ops.run")
    assert alert.startswith("2 of 2 branches could not be pulled")


def test_news_are_announced_and_a_night_without_any_ends_with_its_message(
    dags: dict[str, DAG], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notified: list[str] = []
    monkeypatch.setattr(tasks, "notify_operators", lambda run_id: notified.append(run_id) or [])
    announced: list[tuple[Any, dict[str, Any]]] = []

    class Events:
        def __getitem__(self, alias: Any) -> Any:
            assert alias.name == "kkbc.loaded"
            return SimpleNamespace(add=lambda asset, extra: announced.append((asset, extra)))

    close_pull = call(dags, "pull_branches", "close_pull")
    deliver(root, {"pendaftaran": [{}]}, branch_id="KC001", day=DAY)
    given = params(dags, "pull_branches", source_root=str(root), as_of=str(DAY), gate="warn", branches=["KC001"])
    call(dags, "pull_branches", "open_run")(params=given, dag_run=dag_run("r"))
    call(dags, "pull_branches", "pull_group")(["KC001"], run_id="r", ti=task_instance())
    assert close_pull(run_id="r", outlet_events=Events())["news"]
    # What was asked is not among it: the build reads that in ops.run.
    assert announced == [(SLICES, {"run_id": "r", "as_of": "2023-12-11"})]
    assert notified == []
    with connect() as conn:
        conn.execute(
            "with made as (insert into ops.build (run_id, as_of, first_business_date, outcome)"
            " select run_id, as_of, as_of, 'published' from ops.run returning build_id, as_of),"
            " published as ("
            "insert into ops.publication (build_id, as_of, tables) select build_id, as_of, '{}' from made)"
            " update ops.slice set build_id = (select build_id from made)"
        )
    assert not close_pull(run_id="r", outlet_events=Events())["news"]
    assert len(announced) == 1
    assert notified == ["r"]


class Announcements(list[Any]):
    """The announcements of an asset as Airflow gives them to a task, the oldest first."""

    def ascending(self, is_ascending: bool) -> "Announcements":
        return Announcements(self if is_ascending else reversed(self))

    def limit(self, count: int) -> "Announcements":
        return Announcements(self[:count])


def announcement(run_id: str) -> SimpleNamespace:
    return SimpleNamespace(extra={"run_id": run_id, "as_of": str(DAY)})


def test_a_build_is_for_the_run_it_is_started_with_else_for_the_newest_announced(
    dags: dict[str, DAG], root: Path
) -> None:
    """Slices of both runs are in it either way; it goes by what that run asks (tests/nights/test_requests.py)."""
    for run_id in ("first", "second", "third"):
        nights.open_run(nights.RunRequest(DAY, root), mode="airflow", run_id=run_id)
    open_build, given = call(dags, "build_marts", "open_build"), params(dags, "build_marts")
    events = {SLICES: Announcements([announcement("first"), announcement("second")])}
    # Airflow names the one that caused the build; another came while that was waiting.
    caused = {SLICES: [announcement("first")]}
    opened = open_build(params=given, triggering_asset_events=caused, inlet_events=events)
    assert opened == {"build_id": 1, "run_id": "second"}
    by_hand = given | {"run_id": "third", "gate": "warn"}
    opened = open_build(params=by_hand, triggering_asset_events={SLICES: []}, inlet_events=events)
    assert opened == {"build_id": 2, "run_id": "third"}
    assert query("select run_id, gate from ops.build order by build_id") == [("second", None), ("third", "warn")]
    with pytest.raises(UserError, match="no pull run announced this build: start it with the parameter run_id"):
        open_build(params=given, triggering_asset_events={SLICES: []}, inlet_events=events)


def test_a_build_is_closed_as_failed_by_the_task_that_failed(dags: dict[str, DAG], root: Path) -> None:
    nights.open_run(nights.RunRequest(DAY, root), mode="airflow", run_id="r")
    build_id = nights.open_build("r")
    close_build = call(dags, "build_marts", "close_build")

    def airflow(states: dict[str, str | None]) -> SimpleNamespace:
        return SimpleNamespace(dag_id="build_marts", get_task_states=lambda dag_id, run_ids: {run_ids[0]: states})

    close_build(build_id, ti=airflow({"publish": "success", "close_build": "running"}), run_id="b")
    assert query("select outcome from ops.build") == [("running",)]
    close_build(build_id, ti=airflow({"build_models": "failed", "publish": "upstream_failed"}), run_id="b")
    assert query("select outcome from ops.build") == [("failed",)]
    assert query("select detail ->> 'reason' from ops.step") == [("failed in Airflow: build_models",)]


def test_a_retry_asks_for_its_gate_and_hands_on_no_more_than_its_run(dags: dict[str, DAG], root: Path) -> None:
    nights.open_run(nights.RunRequest(DAY, root), mode="airflow", run_id="night")
    given = params(dags, "retry_quarantine", why="a code was added", gate="warn", branch="KC001", since="2023-12-01")
    assert call(dags, "retry_quarantine", "open_retry")(params=given, dag_run=dag_run("x")) == []
    assert query("select run_id, gate from ops.run where mode = 'airflow' order by 1") == [
        ("night", None),
        ("retry__x", "warn"),
    ]
    assert tasks._selection(given).since == date(2023, 12, 1)
