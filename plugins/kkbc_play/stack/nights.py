"""Nights through Airflow: triggered by its REST API, watched to their end, and played one after the other."""

import time
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from filelock import FileLock, Timeout

from kkbc.core.errors import GateFailed, UserError
from kkbc.core.home import make_home
from kkbc.core.settings import get_settings
from kkbc.exchange.registry import load_registry
from kkbc.nights import RunRequest
from kkbc.warehouse import connect
from kkbc_play.simulator import World
from kkbc_play.simulator.world import ways_of_new
from kkbc_play.stack import branches
from kkbc_play.stack.api import Api, ServerFault
from kkbc_play.stack.lifecycle import states, up

FIRST_NIGHTS = 3
# Each look costs Airflow's only web server some 50 ms, which the tasks' own calls wait for.
POLL_SECONDS = 1.0
# How long nothing may be waiting for a build, nor one be under way, before none is expected any more.
BUILD_START_SECONDS = 120
BUILDS_LOOKED_AT = 5
ENDED = ("success", "failed")
AUDITS = ("audit_slices", "audit_marts")

Progress = Callable[[str, int, int], None]


def run_in_airflow(request: RunRequest, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Runs the night that `request` asks for through Airflow, which is started when it is down.

    Like kkbc.nights.plain.run_night: `progress` is called with stage, parts done, parts in all, and the roll-up of the
    pulls with `publication_id` is returned. Raises GateFailed when the gate stopped publication, UserError when another
    task failed or a part of the stack went down.
    """
    api, progress = Api(up()), _changes_only(progress)
    wanted = {"logical_date": None, "conf": request.as_params()}
    run_id: str = api.post("dags/pull_branches/dagRuns", wanted)["dag_run_id"]
    total = len(request.branch_ids or load_registry().branches)
    _await(api, "pull_branches", run_id, lambda: _show_pull(run_id, total, progress))
    outcome: dict[str, Any] = _result(api, "pull_branches", run_id, "close_pull")
    outcome["publication_id"] = None
    if outcome["news"]:
        build_run = _find_build(api, run_id)
        _await(api, "build_marts", build_run, lambda: _show_build(api, build_run, progress))
        outcome |= _result(api, "build_marts", build_run, "publish")
    return outcome


def play(nights: int | None, new_progress: Callable[[date], Any]) -> list[dict[str, Any]]:
    """Plays the next `nights` of the home's own world through Airflow (None: FIRST_NIGHTS in a new world, else one).

    `new_progress` gives a context manager for each night's business date that yields its Progress. Returns what
    run_in_airflow returned of each. A night that was cut short is caught up with by the next one's pulls.
    Raises UserError when this home pulls from real branches, or another play is under way in it.
    """
    settings = get_settings()
    if settings.source_root:
        raise UserError(
            f"this home pulls from {settings.source_root}: played nights would mix with real ones",
            "unset KKBC_SOURCE_ROOT, or name another KKBC_HOME",
        )
    make_home(settings.home)
    try:
        with FileLock(settings.home / ".play.lock", timeout=0):
            folder = settings.home / "world"
            world = World(folder, ways=ways_of_new(folder))
            world.begin()
            branches.start(settings, folder)
            count = nights or (FIRST_NIGHTS if world.nights_played == 0 else 1)
            outcomes = []
            for _ in range(count):
                with new_progress(world.next_date) as progress:
                    outcomes.append(_play_night(world, progress))
            return outcomes
    except Timeout as error:
        raise UserError(f"nights are being played in {settings.home} already", "wait for that one to end") from error


def _play_night(world: World, progress: Progress) -> dict[str, Any]:
    night = world.play_night(lambda done, total, _: progress("simulate", done, total))
    ways = branches.ways_after(get_settings(), world.folder, world.nights_played)
    request = RunRequest(night.business_date, world.branches_root, ways, first_business_date=world.first_date)
    return run_in_airflow(request, progress)


def _await(api: Api, dag_id: str, run_id: str, show: Callable[[], None]) -> None:
    """Until the run has ended. Raises what its failed task raised, UserError when a part of the stack is gone."""
    while True:
        state = api.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"]
        show()
        if state == "success":
            return
        if state == "failed":
            raise _failure(api, dag_id, run_id)
        if gone := [part.name for part in states() if not part.running]:
            raise UserError(f"{' and '.join(gone)} went down during the night", "`make up`, then run the night again")
        time.sleep(POLL_SECONDS)


def _changes_only(progress: Progress) -> Progress:
    shown: dict[str, tuple[int, int]] = {}

    def show(stage: str, done: int, total: int) -> None:
        if shown.get(stage) != (done, total):
            shown[stage] = (done, total)
            progress(stage, done, total)

    return show


def _show_pull(run_id: str, total: int, progress: Progress) -> None:
    with connect("auditor") as conn:
        row = conn.execute(
            "select count(distinct branch_id) filter (where outcome <> 'running'), count(*) from ops.attempt"
            " where run_id = %s",
            [run_id],
        ).fetchone()
    assert row is not None
    done, begun = row
    if begun:
        progress("pull", done, total)


def _show_build(api: Api, run_id: str, progress: Progress) -> None:
    tasks = api.get(f"dags/build_marts/dagRuns/{run_id}/taskInstances")["task_instances"]
    state = {task["task_id"]: task["state"] for task in tasks}
    layers = [task_id for task_id in state if task_id.startswith("build_")]
    for stage, members in (("build", layers), ("audit", AUDITS), ("publish", ("publish",))):
        done = sum(state.get(task_id) == "success" for task_id in members)
        if done or any(state.get(task_id) == "running" for task_id in members):
            progress(stage, done, len(members))


def _find_build(api: Api, run_id: str) -> str:
    """The run of build_marts that builds what this pull announced.

    Airflow makes it when no other one is under way, however long that takes. An announcement that comes while an
    earlier one waits for its run gets none of its own: that run opens its build later, for both.
    Raises UserError when build_marts is paused, a part of the stack is gone, or nothing is waiting and nothing comes.
    """
    pulled_at = _moment(api.get(f"dags/pull_branches/dagRuns/{run_id}")["end_date"])
    place = f"see {api.airflow.url}/dags/build_marts"
    deadline = time.monotonic() + BUILD_START_SECONDS
    while time.monotonic() < deadline:
        if caused := builds_caused(api, "pull_branches", run_id):
            return caused[0]
        runs = api.get("dags/build_marts/dagRuns", order_by="-run_after", limit=BUILDS_LOOKED_AT)["dag_runs"]
        for run in reversed(runs):
            opened = api.get(f"dags/build_marts/dagRuns/{run['dag_run_id']}/taskInstances/open_build")
            if opened and opened["start_date"] and _moment(opened["start_date"]) >= pulled_at:
                return str(run["dag_run_id"])
        if api.get("dags/build_marts")["is_paused"]:
            raise UserError("build_marts is paused, and what was pulled is not built", f"unpause it: {place}")
        if gone := [part.name for part in states() if not part.running]:
            raise UserError(f"{' and '.join(gone)} went down during the night", "`make up`, then run the night again")
        waiting = api.get("dags/build_marts/assets/queuedEvents")
        if (waiting and waiting["total_entries"]) or any(run["state"] not in ENDED for run in runs):
            deadline = time.monotonic() + BUILD_START_SECONDS
        time.sleep(POLL_SECONDS)
    raise UserError(f"no build was waiting for {BUILD_START_SECONDS} s after the pulls, and none came", place)


def builds_caused(api: Api, dag_id: str, run_id: str) -> list[str]:
    """The runs that Airflow made for what this run announced; empty until there is one, and it runs.

    Airflow fails over an event whose run waits to begin (500: apache/airflow#71360).
    """
    try:
        events = api.get("assets/events", source_dag_id=dag_id, source_run_id=run_id)["asset_events"]
    except ServerFault:
        return []
    return [str(run["run_id"]) for event in events for run in event["created_dagruns"]]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _result(api: Api, dag_id: str, run_id: str, task_id: str) -> Any:
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return api.get(path, stringify=False)["value"]


def _failure(api: Api, dag_id: str, run_id: str) -> UserError:
    """What the run's failed task raised: a mistake that can be fixed in its own words, else its place and kind."""
    run = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
    tasks = api.get(run, state="failed")["task_instances"]
    if not tasks:
        return UserError(f"run {run_id} of {dag_id} failed", f"see {api.airflow.url}/dags/{dag_id}/runs/{run_id}")
    # A branch that failed stops no night by itself, so what stopped this one comes first.
    task = min(tasks, key=lambda task: (task["map_index"] >= 0, task["end_date"]))
    log = api.get(f"{run}/{task['task_id']}/logs/{task['try_number']}", map_index=task["map_index"], full_content=True)
    errors = [error for line in log["content"] if isinstance(line, dict) for error in line.get("error_detail") or []]
    kind, message = (errors[-1]["exc_type"], errors[-1]["exc_value"]) if errors else ("", "")
    if kind == "GateFailed":
        return GateFailed(message)
    if kind == "UserError":
        return UserError(message)
    return UserError(
        f"task {task['task_id']} of {dag_id} failed ({kind or 'no exception: killed, or out of memory?'})",
        f"its log: {api.airflow.url}/dags/{dag_id}/runs/{run_id}/tasks/{task['task_id']}",
    )
