"""Groups of branches: what one task of Airflow takes in. Some branches at a time, and the failure of one is its alone.

A task costs Airflow more than most visits take, so that a task for each branch would be most of a quiet pull.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from math import ceil
from typing import Any

from kkbc.core.errors import BranchTimeout, BranchUnavailable, UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.masking import error_text
from kkbc.exchange.registry import load_registry
from kkbc.nights.branch import pull_branch
from kkbc.nights.request import read_request
from kkbc.nights.setup import by_its_way
from kkbc.warehouse import connect

ROUNDS = 4
"""A group of branches that all hang lasts as long as so many visits in a row."""
LEAST_THREADS = 2
"""A branch that hangs leaves a thread to the others of its group."""
MOST_BRANCHES = 35
"""So many names, each marked, fit into the 250 characters that Airflow keeps of a mapped task's label."""
FAILED_MARK = "✗"
# Visits by which the size of a branch is judged: those of a night, of which one brings all, and some more.
_VISITS = 20

_KNOWN = """
select asked.branch_id, coalesce(max(v.rows), 0), (array_agg(v.outcome order by v.attempt_id desc))[1]
from unnest(%s::text[]) as asked (branch_id) left join lateral (
    select rows, outcome, attempt_id from ops.attempt a
    where a.branch_id = asked.branch_id order by a.started_at desc limit %s
) as v on true
group by asked.branch_id
"""

_OUTCOMES = """
select distinct on (branch_id) branch_id, outcome, reason from ops.attempt
where run_id = %s and branch_id = any(%s) order by branch_id, attempt_id desc
"""

_FAILURES = ("failed", "killed", "running")

log = logging.getLogger("kkbc.pull_branches")


def make_groups(run_id: str, branch_ids: Sequence[str]) -> list[list[str]]:
    """Puts the branches of a run into the number of groups that is set, of like size.

    Branches of one way are spread over all groups, and so are the large ones among them. In a group the large ones come
    first, but those whose latest visit failed come last: they may hang again. Raises UserError for an unknown run.
    """
    with connect("loader") as conn:
        ways = read_request(conn, run_id).ways
        known = conn.execute(_KNOWN, [list(branch_ids), _VISITS]).fetchall()
    rows = {branch_id: most for branch_id, most, _ in known}
    failing = {branch_id: latest in _FAILURES for branch_id, _, latest in known}
    # A backfill also takes in what the registry knows no more.
    kinds = {branch.branch_id: by_its_way(branch, ways).kind for branch in load_registry().branches}
    count = max(min(get_settings().pull_groups, len(branch_ids)), ceil(len(branch_ids) / MOST_BRANCHES))
    groups: list[list[str]] = [[] for _ in range(count)]
    # Dealt to and fro, so that no group gets the larger one each time.
    order = [*range(count), *reversed(range(count))]
    for place, name in enumerate(sorted(branch_ids, key=lambda name: (kinds.get(name, ""), -rows[name], name))):
        groups[order[place % len(order)]].append(name)
    return [sorted(group, key=lambda name: (failing[name], -rows[name], name)) for group in groups]


def pull_group(
    run_id: str, branch_ids: Sequence[str], *, is_retry: bool, show_label: Callable[[str], None] = lambda label: None
) -> None:
    """Takes in what a run asks for of each branch of a group, and prints a line for each as soon as it is done.

    is_retry: only those that failed in this run are taken in again, and not those that a person has to see to. Of a run
    that reads landing again, whose branches are no visits, all are. `show_label` is called when a branch failed.
    Raises when any has failed, after all others are done: UserError where trying again would not help, BranchTimeout or
    BranchUnavailable where it may.
    """
    earlier = _failed_in_run(run_id, branch_ids) if is_retry else {}
    due = [name for name in branch_ids if earlier.get(name, "") is not None and not _needs_person(earlier.get(name))]
    failed = {name: reason for name, reason in earlier.items() if reason is not None and name not in due}
    errors: list[BaseException] = []
    for name, outcome in _pull_each(run_id, due):
        if isinstance(outcome, BaseException):
            errors.append(outcome)
            failed[name] = error_text(outcome)
            is_foreseen = isinstance(outcome, UserError | BranchUnavailable | BranchTimeout)
            log.warning("%s not pulled: %s", name, failed[name], exc_info=None if is_foreseen else outcome)
        else:
            print(outcome)
    if failed:
        show_label(label(branch_ids, failed))
        raise _as_one(failed, len(branch_ids), errors)


def label(branch_ids: Sequence[str], failed: Collection[str] = ()) -> str:
    """What the task of a group is called: its branches, those that failed first, and marked."""
    return " ".join(
        [
            *(FAILED_MARK + name for name in branch_ids if name in failed),
            *(name for name in branch_ids if name not in failed),
        ]
    )


def _pull_each(run_id: str, branch_ids: Sequence[str]) -> Iterator[tuple[str, dict[str, Any] | BaseException]]:
    """The report on each branch, or what went wrong, in the order in which they end."""
    pool = ThreadPoolExecutor(max(LEAST_THREADS, ceil(len(branch_ids) / ROUNDS)), thread_name_prefix="kkbc-visit")
    try:
        visits = {pool.submit(pull_branch, run_id, name): name for name in branch_ids}
        for visit in as_completed(visits):
            yield visits[visit], visit.exception() or visit.result()
    finally:
        # A task that is stopped waits for no visit: those under way end with its process.
        pool.shutdown(wait=False, cancel_futures=True)


def _failed_in_run(run_id: str, branch_ids: Sequence[str]) -> dict[str, str | None]:
    """Why the latest visit of a run to each of these branches failed, None where it did not."""
    with connect("loader") as conn:
        rows = conn.execute(_OUTCOMES, [run_id, list(branch_ids)]).fetchall()
    return {name: (reason or "killed") if outcome in _FAILURES else None for name, outcome, reason in rows}


def _needs_person(reason: str | None) -> bool:
    """Whether a visit failed by what a person has to fix, by its reason, which begins with the kind of the error."""
    kinds, more = {UserError}, [UserError]
    while more:
        found = more.pop().__subclasses__()
        kinds.update(found)
        more += found
    return reason is not None and reason.partition(":")[0] in {kind.__name__ for kind in kinds}


def _as_one(failed: Mapping[str, str], visited: int, errors: Sequence[BaseException]) -> Exception:
    """One error for all that failed; `errors` are those of this try. It says by its kind whether to try again."""
    reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    text = f"{len(failed)} of {visited} branches not pulled: {reasons}"
    passing = [error for error in errors if not isinstance(error, UserError)]
    if not passing:
        return UserError(text)
    return BranchTimeout(text) if all(isinstance(error, TimeoutError) for error in passing) else BranchUnavailable(text)
