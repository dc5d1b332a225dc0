"""A night without Airflow: the same steps in the same order, in this process, a few branches at a time."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal, TypeGuard

import psycopg

from kkbc.core import clock
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable, GateFailed, UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.masking import told_error
from kkbc.nights import night
from kkbc.nights.night import Wishes
from kkbc.nights.prepare import prepare
from kkbc.warehouse.connection import as_user_error
from kkbc.watching import telemetry
from kkbc.watching.notifying import notify_of_night

PULL_THREADS = 4

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


def run_night(wishes: Wishes, progress: Progress, say: Say = lambda line: None) -> dict[str, Any]:
    """Runs the night that `wishes` ask for.

    `progress` is called with stage, parts done, parts in all; `say` with each line that the operator should see, as
    soon as the pulls are over. Returns the roll-up of the pulls with `publication_id`, None when there was nothing new.
    A branch that fails is named in `failed` and does not stop the others.
    Raises UserError for a set-up that cannot work and a warehouse that breaks off, GateFailed when the gate stopped
    publication.
    """
    try:
        return _run_night(wishes, progress, say)
    except psycopg.OperationalError as error:
        raise as_user_error(error) from error


def _run_night(wishes: Wishes, progress: Progress, say: Say) -> dict[str, Any]:
    wish_gate(wishes.gate)
    night.check_setup(wishes)
    prepare()
    run_id = f"plain__{wishes.as_of or 'latest'}__{clock.now():%Y%m%dT%H%M%S%f}"
    run = night.open_run(wishes, mode="plain", run_id=run_id)
    try:
        _pull_all(run, progress)
        outcome = night.close_pull(run_id)
        outcome["notes"] = [*run.notes, *outcome["notes"]]
        tell(outcome, say)
        outcome["publication_id"] = None
        if outcome["news"]:
            outcome |= build_when_free(run_id, progress, say)
    except Exception:
        tell_operators(run_id)
        raise
    tell_operators(run_id)
    return outcome


def wish_gate(gate: Literal["fail", "warn"] | None) -> None:
    """Lets the wish of one night go before the setting, in this process."""
    if gate is not None:
        os.environ["KKBC_GATE"] = gate
        get_settings.cache_clear()


def build_when_free(run_id: str, progress: Progress, say: Say) -> dict[str, Any]:
    """Builds, audits and publishes for a run, when no other night is being built; returns what was published."""
    with night.one_build(lambda: say("another night is being built; this one waits until that is published")):
        return _build_and_publish(run_id, progress)


def tell_operators(run_id: str) -> None:
    """What follows a night, however it ended: figures and the message. Neither can make it fail."""
    telemetry.emit_night(run_id)
    notify_of_night(run_id)


def _pull_all(run: night.Run, progress: Progress) -> None:
    """Visits every branch, and those that were out of reach a second time when all others are done, as well as those
    whose visits ended because the warehouse broke off.

    Some at a time, for most of a visit over a line is waiting. Attempts are on record with their reasons, so that the
    roll-up names the branches that failed. Raises UserError for what would make every branch fail alike, and
    psycopg.OperationalError when the warehouse breaks off once more.
    """
    done = 0
    with ThreadPoolExecutor(PULL_THREADS) as pool:
        progress("pull", done, len(run.branch_ids))
        visits = {pool.submit(night.pull_branch, run.run_id, branch_id): branch_id for branch_id in run.branch_ids}
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
            for visit in as_completed([pool.submit(night.pull_branch, run.run_id, name) for name in out_of_reach]):
                error = visit.exception()
                if _concerns_all(error) or isinstance(error, psycopg.OperationalError):
                    raise error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _concerns_all(error: BaseException | None) -> TypeGuard[UserError]:
    """Whether other branches would fail alike."""
    return isinstance(error, UserError) and not isinstance(error, BranchRefused)


def tell(outcome: dict[str, Any], say: Say) -> None:
    """Says what an operator should see of a roll-up: the notes, and what went wrong."""
    for note in outcome["notes"]:
        say(f"note: {note}")
    if outcome["alert"]:
        say(outcome["alert"])


def _build_and_publish(run_id: str, progress: Progress) -> dict[str, Any]:
    build_id = night.open_build(run_id)
    try:
        progress("build", 0, 2)
        night.build_layer(build_id, "seeds")
        progress("audit", 0, 2)
        night.audit_slices(build_id)
        progress("audit", 1, 2)
        progress("build", 1, 2)
        night.build_layer(build_id, "models")
        progress("build", 2, 2)
        night.audit_marts(build_id)
        progress("audit", 2, 2)
        published = night.publish(build_id)
        progress("publish", 1, 1)
    except Exception as error:
        night.fail_build(build_id, told_error(error), gate=isinstance(error, GateFailed))
        raise
    return published
