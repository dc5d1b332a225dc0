"""Groups of branches: of like size and mix, and in each of them every branch for itself."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from kkbc import nights
from kkbc.core import clock, tokens
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable, UserError
from kkbc.core.settings import get_settings
from kkbc.nights import RunRequest, groups
from kkbc.warehouse import connect
from tests.deliveries import deliver

DAY = date(2023, 12, 11)
NAMES = [f"KC{number:03}" for number in range(1, 33)]
GROUP = ["KC001", "KC002", "KC003", "KC004"]


@pytest.fixture
def root(warehouse: str, home: Path, tmp_path: Path) -> Path:
    tokens.ensure_key(home)
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


@pytest.fixture
def run(root: Path) -> str:
    nights.open_run(RunRequest(DAY, root), mode="airflow", run_id="r")
    return "r"


@pytest.fixture
def pull_groups(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the number of groups."""

    def to(number: int) -> None:
        monkeypatch.setenv("KKBC_PULL_GROUPS", str(number))
        get_settings.cache_clear()

    return to


def visited(branch_id: str, rows: int = 0, outcome: str = "loaded", days_ago: float = 0) -> None:
    at = clock.now() - timedelta(days=days_ago)
    with connect() as conn:
        conn.execute(
            "insert into ops.attempt (run_id, branch_id, kind, started_at, finished_at, outcome, rows)"
            " values ('r', %s, 'file', %s, %s, %s, %s)",
            [branch_id, at, None if outcome == "running" else at, outcome, rows],
        )


def attempts() -> dict[str, list[str]]:
    with connect() as conn:
        rows = conn.execute(
            "select branch_id, array_agg(outcome order by attempt_id) from ops.attempt where run_id = 'r' group by 1"
        ).fetchall()
    return dict(rows)


def test_ways_and_sizes_are_spread(root: Path, pull_groups: Callable[[int], None]) -> None:
    pull_groups(4)
    ways = dict.fromkeys(NAMES[:8], "sftp:slow")
    nights.open_run(RunRequest(DAY, root, ways), mode="airflow", run_id="r")
    for place, name in enumerate(NAMES):
        visited(name, rows=1000 * (place % 8))
        visited(name, rows=0, outcome="nothing_new", days_ago=-0.1)
    made = groups.make_groups("r", NAMES)
    assert sorted(chain(*made)) == NAMES
    assert [len(group) for group in made] == [8] * 4
    assert [sum(name in ways for name in group) for group in made] == [2] * 4
    size = {name: place % 8 for place, name in enumerate(NAMES)}
    sums = [sum(size[name] for name in group) for group in made]
    assert max(sums) - min(sums) <= 4, sums
    for group in made:
        assert [size[name] for name in group] == sorted((size[name] for name in group), reverse=True)


@pytest.mark.parametrize("outcome", ["failed", "killed", "running"])
def test_what_failed_the_last_time_comes_last(run: str, pull_groups: Callable[[int], None], outcome: str) -> None:
    pull_groups(1)
    visited("KC002", rows=9_000, days_ago=2)
    visited("KC002", outcome=outcome, days_ago=1)
    visited("KC003", outcome=outcome, days_ago=2)
    visited("KC003", rows=5, days_ago=1)
    assert groups.make_groups(run, GROUP) == [["KC003", "KC001", "KC004", "KC002"]]


@pytest.mark.parametrize(("number", "branches", "made"), [(8, 3, 3), (8, 1, 1), (8, 0, 0), (8, 32, 8), (500, 32, 32)])
def test_no_group_is_empty(run: str, pull_groups: Callable[[int], None], number: int, branches: int, made: int) -> None:
    pull_groups(number)
    found = groups.make_groups(run, NAMES[:branches])
    assert len(found) == made
    assert all(found)


def test_the_names_of_a_group_fit_into_a_label_however_few_groups_are_set(
    run: str, pull_groups: Callable[[int], None]
) -> None:
    pull_groups(1)
    everyone = [f"KC{number:03}" for number in range(1, 123)]
    made = groups.make_groups(run, everyone)
    assert sorted(chain(*made)) == everyone
    # The column of Airflow's metadata.
    assert max(len(groups.label(group, group)) for group in made) <= 250


def test_what_left_the_registry_is_taken_in_again_all_the_same(run: str) -> None:
    assert sorted(groups.make_groups(run, ["KC001", "KC888"])) == [["KC001"], ["KC888"]]


class Branches:
    """Branches that fail as told, once or for ever; the others are pulled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors: dict[str, list[Exception]] = {}
        self.lasting: dict[str, Exception] = {}
        from kkbc.nights import visit

        monkeypatch.setattr(visit._Visit, "run", self._wrapped(visit._Visit.run))

    def _wrapped(self, run: Callable[..., None]) -> Callable[..., None]:
        def instead(visit: Any, until: date) -> None:
            name = visit.branch.branch_id
            if error := (self.errors.get(name) or [self.lasting.get(name)]).pop():
                raise error
            run(visit, until)

        return instead


@pytest.fixture
def branches(root: Path, monkeypatch: pytest.MonkeyPatch) -> Branches:
    for name in GROUP:
        deliver(root, {"pendaftaran": [{}]}, branch_id=name, day=DAY)
    return Branches(monkeypatch)


class Task:
    """The task of GROUP, and the labels that it showed."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def pull(self, *, is_retry: bool = False) -> None:
        self.labels.clear()
        groups.pull_group("r", GROUP, is_retry=is_retry, show_label=self.labels.append)


@pytest.fixture
def task() -> Task:
    return Task()


def test_all_is_well(run: str, branches: Branches, task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    task.pull()
    assert task.labels == []
    assert attempts() == {name: ["loaded"] for name in GROUP}
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line for name in GROUP for line in lines if f"'{name}'" in line) == sorted(lines)


def test_a_branch_that_fails_is_named_and_tried_again_alone(
    run: str, branches: Branches, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    branches.errors["KC002"] = [BranchUnavailable("nobody listens")]
    with pytest.raises(BranchUnavailable, match="1 of 4 branches not pulled: KC002: BranchUnavailable: nobody listens"):
        task.pull()
    assert task.labels == ["✗KC002 KC001 KC003 KC004"]
    assert "KC002 not pulled: BranchUnavailable: nobody listens" in caplog.text
    assert attempts() == {name: ["failed" if name == "KC002" else "loaded"] for name in GROUP}
    task.pull(is_retry=True)
    assert task.labels == []
    assert attempts() == {name: ["failed", "loaded"] if name == "KC002" else ["loaded"] for name in GROUP}


def test_a_branch_that_a_person_must_see_to_is_not_tried_again_but_by_a_person(
    run: str, branches: Branches, task: Task
) -> None:
    """A second wrong password may lock an account."""
    branches.lasting["KC001"] = BranchRefused("the login is refused", "put in the new password")
    branches.errors["KC003"] = [BranchTimeout("no answer"), BranchTimeout("no answer")]
    with pytest.raises(BranchTimeout, match="2 of 4"):
        task.pull()
    assert task.labels == ["✗KC001 ✗KC003 KC002 KC004"]
    with pytest.raises(BranchTimeout, match=r"2 of 4.*KC001: BranchRefused: the login is refused: put in the new"):
        task.pull(is_retry=True)
    # What is left is for a person, so that Airflow must not try again.
    with pytest.raises(UserError, match="1 of 4 branches not pulled: KC001: BranchRefused"):
        task.pull(is_retry=True)
    assert task.labels == ["✗KC001 KC002 KC003 KC004"]
    assert attempts() == {
        "KC001": ["failed"],
        "KC002": ["loaded"],
        "KC003": ["failed", "failed", "loaded"],
        "KC004": ["loaded"],
    }
    branches.lasting.clear()
    task.pull()
    assert task.labels == []
    assert {name: outcomes[-1] for name, outcomes in attempts().items()} == {
        "KC001": "loaded",
        "KC002": "nothing_new",
        "KC003": "nothing_new",
        "KC004": "nothing_new",
    }


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([BranchTimeout("slow"), BranchTimeout("slow")], BranchTimeout),
        ([BranchTimeout("slow"), BranchUnavailable("away")], BranchUnavailable),
        ([RuntimeError("private"), BranchRefused("no", "fix")], BranchUnavailable),
        ([BranchRefused("no", "fix"), UserError("the disk is full", "free it")], UserError),
    ],
)
def test_the_error_of_a_group_says_whether_to_try_again(
    run: str, branches: Branches, task: Task, errors: list[Exception], raised: type[Exception]
) -> None:
    branches.lasting = dict(zip(("KC002", "KC004"), errors, strict=True))
    with pytest.raises(raised, match="2 of 4 branches not pulled") as caught:
        task.pull()
    assert type(caught.value) is raised
    assert "private" not in str(caught.value)


def test_visits_of_a_task_that_was_killed_are_made_again_and_the_others_are_not(
    run: str, branches: Branches, task: Task
) -> None:
    visited("KC001")
    visited("KC002", outcome="running")
    task.pull(is_retry=True)
    assert attempts() == {
        "KC001": ["loaded"],
        "KC002": ["killed", "loaded"],
        "KC003": ["loaded"],
        "KC004": ["loaded"],
    }


def test_a_branch_that_hangs_costs_no_other_of_its_group_any_time(
    run: str, branches: Branches, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are committed while the first of the group still hangs."""
    others_are_done, done = Event(), []
    pull_branch = groups.pull_branch

    def watched(run_id: str, branch_id: str) -> Any:
        if branch_id == GROUP[0]:
            assert others_are_done.wait(60)
            raise BranchTimeout("the visit took its 480 s")
        report = pull_branch(run_id, branch_id)
        done.append(branch_id)
        if len(done) == len(GROUP) - 1:
            others_are_done.set()
        return report

    monkeypatch.setattr(groups, "pull_branch", watched)
    with pytest.raises(BranchTimeout, match="1 of 4"):
        task.pull()
    assert attempts() == {name: ["loaded"] for name in GROUP[1:]}


@pytest.mark.parametrize(("branches_in_group", "threads"), [(1, 2), (8, 2), (16, 4), (35, 9)])
def test_a_group_that_hangs_altogether_lasts_four_visits(
    monkeypatch: pytest.MonkeyPatch, branches_in_group: int, threads: int
) -> None:
    made: list[int] = []
    executor = groups.ThreadPoolExecutor

    def noted(most: int, **named: Any) -> Any:
        made.append(most)
        return executor(most, **named)

    monkeypatch.setattr(groups, "ThreadPoolExecutor", noted)
    monkeypatch.setattr(groups, "pull_branch", lambda run_id, branch_id: {"branch_id": branch_id})
    groups.pull_group("r", [f"KC{number:03}" for number in range(branches_in_group)], is_retry=False)
    assert made == [threads]
    assert branches_in_group <= threads * groups.ROUNDS


def test_a_task_that_is_stopped_waits_for_no_visit(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Airflow stops a task by an exception in its main thread, here while it prints."""
    hangs, begun = Event(), []

    def pull_branch(run_id: str, branch_id: str) -> dict[str, Any]:
        begun.append(branch_id)
        if len(begun) > 1:
            hangs.wait(60)
        return {"branch_id": branch_id}

    class Stopped(BaseException):
        pass

    def stop(*_: Any) -> None:
        raise Stopped

    monkeypatch.setattr(groups, "pull_branch", pull_branch)
    monkeypatch.setattr("builtins.print", stop)
    began = clock.now()
    with pytest.raises(Stopped):
        groups.pull_group(run, NAMES[:8], is_retry=False)
    assert clock.now() - began < timedelta(seconds=30)
    hangs.set()
    assert len(begun) < 8, "what had not begun is not begun any more"
