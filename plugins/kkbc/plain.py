"""A night without Airflow: the same steps in the same order, in this process, branches one after the other."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Literal

from kkbc import clock, night
from kkbc.errors import GateFailed, UserError
from kkbc.settings import get_settings
from kkbc.warehouse.prepare import prepare

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


def run_night(
    source_root: Path,
    as_of: date,
    first_business_date: date | None,
    gate: Literal["fail", "warn"] | None,
    progress: Progress,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Runs one night over the file deliveries under `source_root`, as of business date `as_of`.

    `progress` is called with stage, parts done, parts in all; `say` with each line that the operator should see, as
    soon as the pulls are over. Returns the roll-up of the pulls with `publication_id`, None when there was nothing new.
    A branch that fails is named in `failed` and does not stop the others.
    Raises UserError for a set-up that cannot work, GateFailed when the gate stopped publication.
    """
    if gate is not None:
        os.environ["KKBC_GATE"] = gate
        get_settings.cache_clear()
    night.check_setup(str(source_root))
    prepare()
    run_id = f"plain__{as_of}__{clock.now():%Y%m%dT%H%M%S%f}"
    run = night.open_run(
        as_of,
        mode="plain",
        run_id=run_id,
        source_root=str(source_root),
        first_business_date=first_business_date,
    )
    for done, branch_id in enumerate(run.branch_ids):
        progress("pull", done, len(run.branch_ids))
        try:
            night.pull_branch(run_id, branch_id)
        except UserError:
            raise
        except Exception:  # noqa: S112 (the attempt is on record with its reason; the roll-up names the branch)
            continue
    progress("pull", len(run.branch_ids), len(run.branch_ids))
    outcome = night.close_pull(run_id)
    outcome["notes"] = [*run.notes, *outcome["notes"]]
    tell(outcome, say)
    outcome["publication_id"] = None
    if outcome["news"]:
        outcome |= _build_and_publish(run_id, progress)
    return outcome


def tell(outcome: dict[str, Any], say: Say) -> None:
    """Says what an operator should see of a roll-up: the notes, and the branches that could not be pulled."""
    for note in outcome["notes"]:
        say(f"note: {note}")
    for branch_id, reason in outcome["failed"].items():
        say(f"branch {branch_id} could not be pulled: {reason}")


def _build_and_publish(run_id: str, progress: Progress) -> dict[str, Any]:
    build_id = night.open_build(run_id)
    try:
        for done, layer in enumerate(night.LAYERS):
            progress("build", done, len(night.LAYERS))
            night.build_layer(build_id, layer)
        progress("build", len(night.LAYERS), len(night.LAYERS))
        progress("audit", 0, 2)
        night.audit_slices(build_id)
        progress("audit", 1, 2)
        night.audit_marts(build_id)
        progress("audit", 2, 2)
        published = night.publish(build_id)
        progress("publish", 1, 1)
    except Exception as error:
        night.fail_build(build_id, f"{type(error).__name__}: {error}", gate=isinstance(error, GateFailed))
        raise
    return published
