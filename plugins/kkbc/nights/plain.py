"""A night without Airflow: the same steps in the same order, in this process, a few branches at a time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeGuard

import psycopg

from kkbc.core import clock
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable, UserError
from kkbc.exchange.masking import error_text
from kkbc.nights.branch import pull_branch
from kkbc.nights.build import audit_marts, audit_slices, build_layer, fail_build, one_build, open_build, publish
from kkbc.nights.notify import notify_operators
from kkbc.nights.prepare import prepare
from kkbc.nights.report import write_report
from kkbc.nights.request import RunRequest
from kkbc.nights.run import Run, close_pull, open_run
from kkbc.nights.setup import check_setup
from kkbc.warehouse.connection import as_user_error

PULL_THREADS = 4

Progress = Callable[[str, int, int], None]
PrintLine = Callable[[str], None]


def run_night(request: RunRequest, progress: Progress, print_line: PrintLine = lambda line: None) -> dict[str, Any]:
    """Runs the night that `request` asks for.

    `progress` is called with stage, parts done, parts in all; `print_line` with each line that the operator should see,
    as soon as the pulls are over. Returns the roll-up of the pulls with `publication_id`, None when there was nothing
    new. A branch that fails is named in `failed` and does not stop the others.
    Raises UserError for a set-up that cannot work and a warehouse that breaks off, GateFailed when the gate stopped
    publication.
    """
    try:
        return _run_night(request, progress, print_line)
    except psycopg.OperationalError as error:
        raise as_user_error(error) from error


def _run_night(request: RunRequest, progress: Progress, print_line: PrintLine) -> dict[str, Any]:
    check_setup(request)
    prepare()
    run_id = f"plain__{request.as_of or 'latest'}__{clock.now():%Y%m%dT%H%M%S%f}"
    run = open_run(request, mode="plain", run_id=run_id)
    try:
        _pull_all(run, progress)
        outcome = close_pull(run_id)
        print_outcome(outcome, print_line)
        outcome["publication_id"] = None
        if outcome["news"]:
            outcome |= build_when_free(run_id, progress, print_line)
    except Exception:
        notify_operators(run_id)
        raise
    notify_operators(run_id)
    return outcome


def build_when_free(run_id: str, progress: Progress, print_line: PrintLine) -> dict[str, Any]:
    """Builds, audits and publishes for a run, when no other night is being built; returns what was published."""
    with one_build(lambda: print_line("another night is being built; this one waits until that is published")):
        return _build_and_publish(run_id, progress)


def _pull_all(run: Run, progress: Progress) -> None:
    """Visits every branch, and those that were out of reach a second time when all others are done, as well as those
    whose visits ended because the warehouse broke off.

    Some at a time, for most of a visit over a line is waiting. Attempts are on record with their reasons, so that the
    roll-up names the branches that failed. Raises UserError for what would make every branch fail alike, and
    psycopg.OperationalError when the warehouse breaks off once more.
    """
    done = 0
    with ThreadPoolExecutor(PULL_THREADS) as pool:
        progress("pull", done, len(run.branch_ids))
        visits = {pool.submit(pull_branch, run.run_id, branch_id): branch_id for branch_id in run.branch_ids}
        out_of_reach = []
        try:
            for visit in as_completed(visits):
                error = visit.exception()
                if isinstance(error, BranchUnavailable | BranchTimeout | psycopg.OperationalError):
                    out_of_reach.append(visits[visit])
                elif _concerns_all(error):
                    raise error
                done += 1
                progress("pull", done, len(run.branch_ids))
            for visit in as_completed([pool.submit(pull_branch, run.run_id, name) for name in out_of_reach]):
                error = visit.exception()
                if _concerns_all(error) or isinstance(error, psycopg.OperationalError):
                    raise error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _concerns_all(error: BaseException | None) -> TypeGuard[UserError]:
    """Whether other branches would fail alike."""
    return isinstance(error, UserError) and not isinstance(error, BranchRefused)


def print_outcome(outcome: dict[str, Any], print_line: PrintLine) -> None:
    """Prints what an operator should see of a roll-up: the notes, and what went wrong."""
    for note in outcome["notes"]:
        print_line(f"note: {note}")
    if outcome["alert"]:
        print_line(outcome["alert"])


def _build_and_publish(run_id: str, progress: Progress) -> dict[str, Any]:
    build_id = open_build(run_id)
    try:
        progress("build", 0, 2)
        build_layer(build_id, "seeds")
        progress("audit", 0, 2)
        audit_slices(build_id)
        progress("audit", 1, 2)
        progress("build", 1, 2)
        build_layer(build_id, "models")
        progress("build", 2, 2)
        audit_marts(build_id)
        progress("audit", 2, 2)
        published = publish(build_id)
        progress("publish", 1, 1)
    except Exception as error:
        fail_build(build_id, error_text(error))
        raise
    write_report(build_id)
    return published
