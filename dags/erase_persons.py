"""By hand, when persons have a right to be erased: a person approves, then they leave all that is stored."""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule, TriggerRule, dag, task

from kkbc.core.airflow_approval import ANSWERED_BY, Approval
from kkbc.core.errors import UserError

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(UserError, RetryAction.FAIL, reason="a person has to fix this: trying again would not help")]
)

DOC = """
### Erase persons

Erases the persons of a request, once somebody approved it. Persons are never named here: `kkbc erase --for-approval`
reads their NIKs from a file or standard input and puts them aside in the home; a run names the `request` alone.

| Task | Does |
| --- | --- |
| `count` | counts what there is of the persons in each store |
| `approve` | waits for a person, who sees these counts (Required Actions), for a week at most |
| `erase` | erases them, searches all that is stored for them, and writes the proof; the same as `kkbc erase` |
| `refuse` | runs when it was rejected: the request's file is removed, and that is on record |
| `ended` | does nothing: without it a run whose erasure failed would be a success, for `refuse` is skipped then |

### Triage
* **`count` is red.** The request is not known, is done, or was refused. Make it with `kkbc erase --for-approval`.
* **`approve` is red.** Nobody answered in a week. The request waits on: clear the task, or refuse it with
  `kkbc erase --refuse`.
* **`erase` is red.** Its log says in one line why. Fix that and clear the task: it goes on where it stopped. When
  something was found afterwards, docs/runbooks/erase-a-person.md says what to do for each place.
* **`erase` waits.** It waits for visits, builds and publications; loads and builds wait for it in turn.
"""


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"),
    catchup=False,
    max_active_runs=1,
    tags=["kkbc", "tier:2"],
    doc_md=DOC,
    default_args={
        "owner": "kkbc-data",
        "retries": 3,
        "retry_delay": timedelta(minutes=2),
        "retry_policy": RETRY_POLICY,
    },
    params={
        "request": Param(
            "",
            type="string",
            pattern=r"^(?![0-9]{16})[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            description="Name of the request, as `kkbc erase --for-approval` says it. Never a NIK.",
        ),
    },
)
def erase_persons():
    @task(execution_timeout=timedelta(minutes=30))
    def count(params=None) -> dict:
        from kkbc.rights import tasks

        return tasks.count(params)

    approve = Approval(
        task_id="approve",
        subject="Erase {{ ti.xcom_pull(task_ids='count')['persons'] }} persons of request {{ params.request }}?",
        body="{{ ti.xcom_pull(task_ids='count')['body'] }}",
        response_timeout=timedelta(days=7),
    )

    @task(execution_timeout=timedelta(hours=1))
    def erase(params=None, ti=None) -> dict:
        from kkbc.rights import tasks

        return tasks.erase(params, ti.xcom_pull(task_ids="approve", key=ANSWERED_BY))

    # Behind a task that is skipped when the answer is no, and not otherwise.
    @task(execution_timeout=timedelta(minutes=5), trigger_rule=TriggerRule.ALL_SKIPPED)
    def refuse(params=None, ti=None) -> None:
        from kkbc.rights import tasks

        tasks.refuse(params, ti.xcom_pull(task_ids="approve", key=ANSWERED_BY))

    erased, refused = erase(), refuse()
    count() >> approve >> erased >> refused
    ended = EmptyOperator(task_id="ended", trigger_rule=TriggerRule.NONE_FAILED, execution_timeout=timedelta(minutes=5))
    [erased, refused] >> ended


erase_persons()
