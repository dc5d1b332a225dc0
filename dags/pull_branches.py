"""Hourly through the night: whatever the branches owe is pulled, judged and loaded, a mapped task a group of them."""

import os
from datetime import timedelta

import pendulum
from airflow.sdk import (
    Asset,
    AssetAlias,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    TriggerRule,
    dag,
    get_current_context,
    task,
)

from kkbc.core.errors import BranchTimeout, BranchUnavailable, UserError

# The local stack empties the schedule of a home that has no branches of its own to visit.
SCHEDULE = os.environ.get("KKBC_PULL_SCHEDULE", "35 0-6,19-23 * * *") or None

SLICES = Asset("kkbc.slices")
# The asset is announced through its alias, for only an alias can be left without an event when nothing new came.
LOADED = AssetAlias("kkbc.loaded")

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(UserError, RetryAction.FAIL, reason="a person has to fix this: trying again would not help"),
        RetryRule(
            [BranchUnavailable, ConnectionError],
            RetryAction.RETRY,
            retry_delay=timedelta(seconds=30),
            reason="the branch or the line may come back",
        ),
        RetryRule(
            [BranchTimeout, TimeoutError],
            RetryAction.RETRY,
            retry_delay=timedelta(minutes=1),
            reason="the branch may be busy",
        ),
    ]
)

DOC = """
### Pull the branches

Visits every branch and head office, takes the deliveries that are due, missing or revised, judges each row by its
contract, and loads the slices. A late branch is no special case: the next run finds what this one did not.

| Task | Does |
| --- | --- |
| `open_run` | settles `as_of`, notes the run, puts the branches into groups (`KKBC_PULL_GROUPS`, 4) |
| `pull_group` | the branches of one group, a few at a time: pull, land, read, judge, load; its label names them |
| `close_pull` | the roll-up: one alert over branches that failed and slices rejected; announces `kkbc.slices` |

### Triage
* **A `pull_group` task is red.** The branches that its label marks with ✗ failed; the others of the group are pulled.
  The night goes on without those, and the next run visits them again. The last line of its log says what is wrong.
  `BranchRefused` (login, host key, connection) is not tried again and needs a person; `BranchUnavailable` and
  `BranchTimeout` were tried three times already, without visiting the others of the group again. After fixing, clear
  the task, which visits its whole group, or wait for the next hour. Every attempt is a row of `ops.attempt`; the alert
  stands in `close_pull`'s log and in `ops.run`.
* **`close_pull` is green, yet a branch is missing.** It has delivered nothing: see `bi.kpi_data_quality_daily`, status
  `missing`, and call the branch.
* **`close_pull` is red.** No branch at all could be pulled.
* **`open_run` is red, or every `pull_group`.** Settings, registry, key, source root or warehouse: run `kkbc doctor`.
* **No `build_marts` run followed.** Nothing new came and `as_of` did not move, so there was nothing to build.

A **backfill** (`airflow backfill create --dag-id pull_branches`) reads what was landed of its days again, by the
contracts of today, and visits no branch; with `{"reread": "branches"}` it visits them. See docs/runbooks/backfill.md.

Runs may be repeated at will: a slice that is loaded already is not loaded twice.
"""


@dag(
    schedule=SCHEDULE,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=128,
    tags=["kkbc", "tier:1"],
    doc_md=DOC,
    default_args={
        "owner": "kkbc-data",
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=10),
    },
    params={
        "as_of": Param(
            None, type=["null", "string"], format="date", description="Pull up to this day; empty: the latest due."
        ),
        "source_root": Param(
            None,
            type=["null", "string"],
            description="Folder with the deliveries of all branches as files; empty: each by its own way.",
        ),
        "ways": Param(
            {},
            type=["null", "object"],
            description='For this run only: {"KC044": "sftp:branch_044", "*": "file"}; empty: the registry\'s.',
        ),
        "branches": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            description='Visit these only, as ["KC044"]; empty: all. The branch board asks so for one.',
        ),
        "first_business_date": Param(
            None, type=["null", "string"], format="date", description="First day of the daily marts; empty: as kept."
        ),
        "gate": Param(
            None, enum=[None, "fail", "warn"], description="What a failed audit does; empty: as in the settings."
        ),
        "reread": Param(
            "landing",
            enum=["landing", "branches"],
            description="Of a backfill: read what was landed again, or ask the branches for what is outstanding.",
        ),
        "full_refresh": Param(
            False, type="boolean", description="Rebuild all marts, instead of what the new slices touch."
        ),
    },
)
def pull_branches():
    @task
    def open_run(params=None, dag_run=None) -> list[list[str]]:
        from kkbc.nights import tasks

        return tasks.open_pull(params, dag_run, SCHEDULE)

    # A visit ends by itself (KKBC_VISIT_SECONDS), and four in a row are the most that a group comes to.
    @task(
        pool="branch_pulls",
        map_index_template="{{ label | default(task.op_kwargs['branch_ids'] | join(' ')) }}",
        do_xcom_push=False,
        execution_timeout=timedelta(minutes=45),
    )
    def pull_group(branch_ids: list[str], run_id=None, ti=None) -> None:
        from kkbc.nights import tasks

        tasks.pull_group(run_id, branch_ids, ti, lambda label: get_current_context().update(label=label))

    @task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, outlets=[LOADED])
    def close_pull(run_id=None, outlet_events=None) -> dict:
        from kkbc.nights import tasks

        return tasks.close_pull(run_id, lambda extra: outlet_events[LOADED].add(SLICES, extra=extra))

    groups = open_run()
    # A group that failed may have loaded slices all the same: that the run was opened is success enough to close it.
    [groups, pull_group.expand(branch_ids=groups)] >> close_pull()


pull_branches()
