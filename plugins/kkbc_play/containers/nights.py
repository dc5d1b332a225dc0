"""Nights in the stack: started by Airflow's API, followed there and in the warehouse, whatever breaks meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import httpx
import psycopg

from kkbc.core.errors import UserError
from kkbc_play.containers.stack import Stack
from kkbc_play.stack.api import Api

PULL, BUILD = "pull_branches", "build_marts"
POLL_SECONDS = 1.0
NIGHT_SECONDS = 1200
# Airflow has read the DAGs by then, or a restarted api-server answers again.
BEGIN_SECONDS = 300
# Between a pull and the build that it announces no run is under way for a moment.
IDLE_LOOKS = 12
PASSING = (UserError, httpx.HTTPError, psycopg.Error)
"""What a service that is being restarted answers."""


@dataclass
class Night:
    """A night under way or done: the runs of pull_branches that it took, the last one first to ask for."""

    day: date
    runs: list[str]
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def __str__(self) -> str:
        runs = "" if len(self.runs) == 1 else f", {len(self.runs)} runs"
        return f"published after {self.seconds:.0f} s{runs}"


def begin(stack: Stack, day: date, first: date) -> Night:
    """Starts the night of `day` as the schedule would; the first day of the daily marts is `first`."""
    return Night(day, [_trigger(stack.api(), day, first)])


def follow(
    stack: Stack,
    night: Night,
    first: date,
    *,
    most_runs: int,
    meanwhile: Callable[[], bool] | None = None,
    seconds: float = NIGHT_SECONDS,
) -> Night:
    """Waits until the night is published with all branches pulled; a further run begins where one was not enough.

    `meanwhile` is called between two looks, until it returns False. Raises UserError when `most_runs` runs do not get
    there, or so many seconds pass.
    """
    api, idle, deadline = stack.api(), 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        if meanwhile is not None and not meanwhile():
            meanwhile = None
        try:
            under_way = _under_way(api)
            done = not under_way and is_complete(stack, night)
        except PASSING:
            api, under_way, done = stack.api(), True, False
        if done:
            night.seconds = time.monotonic() - night.started
            return night
        idle = 0 if under_way else idle + 1
        if idle >= IDLE_LOOKS:
            if len(night.runs) >= most_runs:
                raise UserError(f"the night of {night.day} is not published: {why_incomplete(stack, night)}")
            night.runs.append(_trigger(api, night.day, first))
            idle = 0
        time.sleep(POLL_SECONDS)
    raise UserError(f"the night of {night.day} is not published after {seconds:.0f} s")


def is_complete(stack: Stack, night: Night) -> bool:
    """Whether the day is published, no branch of its last run failed, and no slice waits for a publication."""
    return not why_incomplete(stack, night)


def why_incomplete(stack: Stack, night: Night) -> str:
    """What is missing of the night, empty when nothing is."""
    with stack.connect() as conn:
        row = conn.execute(
            "select (select max(as_of) from ops.publication),"
            " (select count(*) from ops.slice s left join ops.build b using (build_id)"
            "  where s.status <> 'rejected' and b.outcome is distinct from 'published'),"
            " array(select branch_id from (select distinct on (branch_id) branch_id, outcome from ops.attempt"
            "  where run_id = %s order by branch_id, attempt_id desc) a"
            "  where outcome not in ('loaded', 'nothing_new')),"
            " (select count(distinct branch_id) from ops.attempt where run_id = %s),"
            " (select count(*) from ops.branch)",
            [night.runs[-1], night.runs[-1]],
        ).fetchone()
    assert row is not None
    published, waiting, failed, visited, branches = row
    reasons = [] if published and published >= night.day else [f"published is {published}"]
    reasons += [f"{waiting} slices wait for a publication"] if waiting else []
    reasons += [f"not pulled: {', '.join(failed)}"] if failed else []
    # Head office, which is visited too, is no branch.
    reasons += [f"{visited} of {branches} branches visited"] if visited < branches else []
    return ", ".join(reasons)


def workers_of(stack: Stack, night: Night, *, running: bool = False) -> dict[str, int]:
    """How many pull tasks of the night's last run each worker has, by its host name: of all, or of those that run."""
    path = f"dags/{PULL}/dagRuns/{night.runs[-1]}/taskInstances"
    found: dict[str, int] = {}
    for task in _listed(stack.api().get(path, limit=100), "task_instances"):
        if task["hostname"] and task["task_id"] == "pull_group" and (not running or task["state"] == "running"):
            found[task["hostname"]] = found.get(task["hostname"], 0) + 1
    return found


def tries_of(stack: Stack, night: Night) -> int:
    """How many tasks of the night's runs of pull_branches were tried more than once."""
    api = stack.api()
    tasks = [
        task
        for run in night.runs
        for task in _listed(api.get(f"dags/{PULL}/dagRuns/{run}/taskInstances", limit=100), "task_instances")
    ]
    return sum(task["try_number"] > 1 for task in tasks)


def run_dag(stack: Stack, dag_id: str, seconds: float = 600) -> str:
    """Runs a DAG by hand to its end; returns its state."""
    api = stack.api()
    run_id = api.post(f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": {}})["dag_run_id"]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = str(api.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])
        if state in ("success", "failed"):
            return state
        time.sleep(POLL_SECONDS)
    raise UserError(f"{dag_id} has not ended after {seconds:.0f} s")


def _trigger(api: Api, day: date, first: date) -> str:
    wanted = {"as_of": day.isoformat(), "first_business_date": first.isoformat()}
    deadline = time.monotonic() + BEGIN_SECONDS
    while True:
        try:
            made = api.post(f"dags/{PULL}/dagRuns", {"logical_date": None, "conf": wanted})
            if made is not None:
                return str(made["dag_run_id"])
            raise UserError(f"Airflow does not know the DAG {PULL}", "docker compose logs airflow-dag-processor")
        except PASSING:
            if time.monotonic() > deadline:
                raise
            time.sleep(2)


def _under_way(api: Api) -> bool:
    """Whether a run of either DAG has not ended, or a build is announced that has not begun."""
    states = {"state": ["running", "queued"], "limit": 1}
    if any(_listed(api.get(f"dags/{dag_id}/dagRuns", **states), "dag_runs") for dag_id in (PULL, BUILD)):
        return True
    events = api.get(f"dags/{BUILD}/assets/queuedEvents")
    return bool(events and events["total_entries"])


def _listed(answer: Any, name: str) -> list[dict[str, Any]]:
    """Raises UserError when Airflow does not know the place."""
    if answer is None:
        raise UserError(f"Airflow knows no such {name}")
    return list(answer[name])
