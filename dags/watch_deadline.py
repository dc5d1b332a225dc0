"""Every morning at 05:00 Asia/Jakarta: is the night published? If not, the operators are told."""

import os
from datetime import timedelta

import pendulum
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule, dag, task

from kkbc.core.errors import UserError

# A home that lives on played nights has no mornings either: the local stack empties the schedule of both.
SCHEDULE = None if os.environ.get("KKBC_PULL_SCHEDULE") == "" else "0 5 * * *"

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(UserError, RetryAction.FAIL, reason="a person has to fix this: trying again would not help"),
        RetryRule(ConnectionError, RetryAction.RETRY, reason="the warehouse may come back, and somebody must be told"),
    ]
)

DOC = """
### Watch the deadline

By 05:00 Asia/Jakarta the business date of the day before is published. This asks the warehouse what is published and
nothing else, so it also tells of a night that was never begun.

| Task | Does |
| --- | --- |
| `check_deadline` | compares `ops.publication` with the clock; tells the operators once, by the channels of `notify` |

### Triage
* **The alert came.** Readers see the night before. docs/runbooks/nothing-was-published.md says where to look first.
* **`check_deadline` is red.** The warehouse is out of reach, which is an alert of its own: run `kkbc doctor`.
* **It is green, the night is not published, and no alert came.** A channel failed: its log and `ops.notification` say
  why (docs/runbooks/notifications.md).
"""


@dag(
    schedule=SCHEDULE,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    tags=["kkbc", "tier:1"],
    doc_md=DOC,
    default_args={
        "owner": "kkbc-data",
        "retries": 3,
        "retry_delay": timedelta(minutes=2),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=5),
    },
)
def watch_deadline():
    @task
    def check_deadline() -> dict:
        from kkbc.nights import tasks

        return tasks.check_deadline()

    check_deadline()


watch_deadline()
