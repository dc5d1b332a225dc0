"""What the tasks of the DAGs do, one function a task: Airflow's parameters become a request, and requests decide.

A DAG file says which task runs when, and hands on what Airflow alone knows. One step hands to the next no more than the
name of a run or the number of a build: what was asked stands in ops.run.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from kkbc import publishing
from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.nights import backfill, build, groups, run
from kkbc.nights.notify import notify_operators
from kkbc.nights.report import write_quietly
from kkbc.nights.request import RunRequest
from kkbc.slices import AuditNote, quarantine
from kkbc.slices.quarantine import Selection
from kkbc.warehouse import connect
from kkbc.watching import notifying

Params = Mapping[str, Any]
Announce = Callable[[dict[str, Any]], None]
ShowLabel = Callable[[str], None]

log = logging.getLogger("kkbc.pull_branches")


def open_pull(params: Params, dag_run: Any, schedule: str | None) -> list[list[str]]:
    """Opens the run that a run of pull_branches asks for; returns the branches to take in, group by group.

    A backfill's run stands for its day, every other one for the moment. Of a backfill's runs for one day the first
    moment of `schedule` does the work; raises AirflowSkipException for the others.
    """
    request = RunRequest.from_params(params)
    return groups.make_groups(dag_run.run_id, _open(request, params["reread"], dag_run, schedule))


def pull_group(run_id: str, branch_ids: list[str], ti: Any, show_label: ShowLabel) -> None:
    """Takes in the branches of one group; Airflow's own retries take in only what failed, a cleared task all of it."""
    first_try = ti.max_tries - ti.task.retries + 1
    groups.pull_group(run_id, branch_ids, is_retry=ti.try_number > first_try, show_label=show_label)


def close_pull(run_id: str, announce: Announce) -> dict[str, Any]:
    """Sums the pulls of a run up, and announces what is to be built; without that the night ends here, and says so.

    Raises UserError when branches were visited and none could be pulled: there is no night to build.
    """
    report = run.close_pull(run_id)
    if report["alert"]:
        log.warning(report["alert"])
    if report["branches"] and len(report["failed"]) == report["branches"]:
        raise UserError("no branch could be pulled", "the alert above says why; `kkbc doctor` finds what they share")
    if report["news"]:
        announce(_announcement(report))
    else:
        notify_operators(run_id)
    return report


def open_retry(params: Params, dag_run: Any) -> list[str]:
    """Opens the run of a retry of the quarantine; returns the branches that have such rows."""
    return quarantine.open_retry(_retry_run_id(dag_run), _selection(params), gate=params["gate"])


def retry_branch(branch_id: str, params: Params, dag_run: Any) -> dict[str, Any]:
    """Retries the chosen rows of one branch; see kkbc.slices.quarantine.retry_branch."""
    note = AuditNote(params["why"], _who(dag_run), _retry_run_id(dag_run))
    return quarantine.retry_branch(branch_id, _selection(params), note)


def close_retry(dag_run: Any, announce: Announce) -> dict[str, Any]:
    """Sums a retry up, and announces what is to be built."""
    report = quarantine.close_retry(_retry_run_id(dag_run))
    if report["news"]:
        announce(_announcement(report))
    return report


def open_build(params: Params, triggering_events: Mapping[Any, Any], announcements: Any) -> dict[str, Any]:
    """Opens the build of a run of build_marts: for the run that it is started with, else for the newest announced.

    Returns build_id and run_id. Raises UserError when there is neither.
    """
    run_id = params["run_id"] or _newest_announced(triggering_events, announcements)
    if run_id is None:
        raise UserError("no pull run announced this build", "start it with the parameter run_id: a run of ops.run")
    return {"build_id": build.open_build(run_id, gate=params["gate"]), "run_id": run_id}


def notify(run_id: str) -> None:
    """Tells the operators what came of a night; the task's log says what became of it on each channel."""
    for notice in notify_operators(run_id):
        print(notice.channel, notice.outcome)


def roll_back(params: Params, dag_run: Any) -> dict[str, Any]:
    """Restores an earlier publication, once for each run of the DAG; see kkbc.publishing.roll_back."""
    with connect("publisher") as conn:
        done = publishing.roll_back(
            conn,
            to=params["to"],
            why=params["why"],
            who=_who(dag_run),
            request=f"airflow {dag_run.run_id}",
            wait=lambda: print("a build is under way: waiting for it"),
        )
    write_quietly()
    return {"publication_id": done.publication_id, "restores": done.restores, "tables": done.tables}


def check_deadline() -> dict[str, Any]:
    """Tells the operators when the night is not published; see kkbc.watching.notifying.check_deadline.

    Raises ConnectionError, which is tried again, for what would else be a mistake: the warehouse may come back.
    """
    try:
        return notifying.check_deadline()
    except UserError as error:
        raise ConnectionError(str(error)) from error


def _open(request: RunRequest, reread: str, dag_run: Any, schedule: str | None) -> list[str]:
    """Opens the run; returns the branches to take in."""
    run_id = dag_run.run_id
    if dag_run.run_type != "backfill":
        return run.open_run(request, mode="airflow", run_id=run_id).branch_ids
    day = request.as_of or clock.latest_due(dag_run.logical_date)
    if not backfill.is_first_of_its_day(schedule, dag_run.logical_date):
        from airflow.sdk.exceptions import AirflowSkipException

        raise AirflowSkipException(f"the first run of its day does the work for {day}")
    if reread == "landing":
        request = replace(request, reread=(day, day), requested_by=_who(dag_run))
        return backfill.open_backfill(request, mode="airflow", run_id=run_id)
    request = replace(request, as_of=backfill.latest_as_of(day))
    return run.open_run(request, mode="airflow", run_id=run_id).branch_ids


def _announcement(report: Mapping[str, Any]) -> dict[str, Any]:
    """What an event of the asset says. Its day is for people: what was asked of the run stands in ops.run."""
    return {"run_id": report["run_id"], "as_of": report["as_of"]}


def _newest_announced(triggering_events: Mapping[Any, Any], announcements: Any) -> str | None:
    """The run of the newest announcement, when one caused this build; several during a build are one build's cause.

    Not the newest that Airflow gives to the build: of announcements that come while one is waiting for its build
    already, Airflow gives it none, and makes no build of their own for them.
    """
    if not any(triggering_events[asset] for asset in triggering_events):
        return None
    newest: Iterable[Any] = announcements.ascending(False).limit(1)
    return next((event.extra.get("run_id") for event in newest), None)


def _who(dag_run: Any) -> str:
    return f"airflow {getattr(dag_run, 'triggering_user_name', None) or dag_run.run_id}"


def _retry_run_id(dag_run: Any) -> str:
    """Runs of two DAGs may have one name in Airflow; those in the warehouse may not."""
    return f"retry__{dag_run.run_id}"


def _selection(params: Params) -> Selection:
    since, until = (date.fromisoformat(params[name]) if params[name] else None for name in ("since", "until"))
    return Selection(params["branch"] or None, params["feed"], since, until, params["code"] or None)
