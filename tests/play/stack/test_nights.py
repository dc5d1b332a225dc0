"""Which build belongs to a pull, by what Airflow answers; no Airflow is started."""

from typing import Any

import pytest

from kkbc.core.errors import UserError
from kkbc.core.local_airflow import Airflow
from kkbc_play.stack import nights
from kkbc_play.stack.api import ServerFault
from kkbc_play.stack.lifecycle import State

PULLED = "2026-11-23T01:00:00Z"
BEFORE, AFTER = "2026-11-23T00:59:59Z", "2026-11-23T01:00:01Z"


class Answers:
    """An Airflow that answers from a script, a step each second."""

    airflow = Airflow(1, "")

    def __init__(self) -> None:
        self.seconds = 0
        self.caused: dict[int, str] = {}
        self.opened: dict[str, dict[int, str]] = {}
        self.waiting_until = 0
        self.paused = False
        self.failing: range = range(0)

    def get(self, path: str, **query: Any) -> Any:
        if path == "dags/pull_branches/dagRuns/pull":
            return {"end_date": PULLED}
        if path == "assets/events":
            if self.seconds in self.failing:
                raise ServerFault("Airflow refuses GET assets/events: 500")
            runs = [{"run_id": run} for second, run in self.caused.items() if second <= self.seconds]
            return {"asset_events": [{"created_dagruns": runs}]}
        if path == "dags/build_marts/dagRuns":
            return {"dag_runs": [{"dag_run_id": run, "state": self._state(run)} for run in reversed(self.opened)]}
        if path.endswith("/taskInstances/open_build"):
            run = path.split("/")[3]
            return {"start_date": next((at for s, at in self.opened[run].items() if s <= self.seconds), None)}
        if path == "dags/build_marts/assets/queuedEvents":
            return {"total_entries": 1} if self.seconds < self.waiting_until else None
        assert path == "dags/build_marts"
        return {"is_paused": self.paused}

    def _state(self, run: str) -> str:
        return "running" if self.seconds < self.waiting_until else "success"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers()

    def sleep(_: float) -> None:
        answers.seconds += 1

    monkeypatch.setattr(nights.time, "sleep", sleep)
    monkeypatch.setattr(nights.time, "monotonic", lambda: float(answers.seconds))
    monkeypatch.setattr(nights, "states", lambda: [State("scheduler", True, "")])
    return answers


def find(api: Answers) -> str:
    return nights._find_build(api, "pull")  # type: ignore[arg-type]


def test_the_run_that_the_pull_caused(api: Answers) -> None:
    api.caused = {3: "mine"}
    assert find(api) == "mine"


def test_a_build_that_waits_to_begin_is_waited_for_though_airflow_cannot_show_it(api: Answers) -> None:
    api.failing, api.caused = range(2, 9), {2: "mine"}
    assert find(api) == "mine"
    assert api.seconds == 9


def test_a_build_that_waits_behind_another_is_waited_for(api: Answers) -> None:
    """Ten minutes, while the announcement stands in Airflow's queue."""
    api.waiting_until, api.caused = 700, {600: "mine"}
    assert find(api) == "mine"


def test_a_build_under_way_is_waited_for(api: Answers) -> None:
    api.opened, api.waiting_until, api.caused = {"other": {0: BEFORE}}, 700, {600: "mine"}
    assert find(api) == "mine"


def test_an_announcement_without_a_run_of_its_own_is_built_by_the_one_that_opens_after_it(api: Answers) -> None:
    api.opened, api.waiting_until = {"before": {0: BEFORE}, "after": {300: AFTER}}, 700
    assert find(api) == "after"


def test_nothing_waiting_and_nothing_coming_is_reported(api: Answers) -> None:
    api.opened = {"before": {0: BEFORE}}
    with pytest.raises(UserError, match="no build was waiting"):
        find(api)


def test_a_paused_build_is_reported_at_once(api: Answers) -> None:
    api.paused, api.waiting_until = True, 700
    with pytest.raises(UserError, match="build_marts is paused"):
        find(api)
    assert api.seconds == 0


def test_a_scheduler_that_is_gone_is_reported_at_once(api: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nights, "states", lambda: [State("scheduler", False, "")])
    api.waiting_until = 700
    with pytest.raises(UserError, match="scheduler went down"):
        find(api)
