"""By hand, when the figures that were published are wrong: an earlier publication comes back whole."""

from datetime import timedelta

import pendulum
from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule, dag, task

from kkbc.core.errors import UserError

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(UserError, RetryAction.FAIL, reason="a person has to fix this: trying again would not help")]
)

DOC = """
### Roll a publication back

Restores what readers saw after an earlier publication, in one transaction, as a new publication. Trigger it with a
reason (`why`), and with the number of a publication (`to`) unless the one before the live one is meant. The same by
hand: `kkbc rollback`; `kkbc publication list` tells which can be restored, `kkbc publication diff` what each changed.

| Task | Does |
| --- | --- |
| `roll_back` | takes back what was published since, row by row, and compares each table with its record |

### Triage
* **`roll_back` is red.** Nothing was changed. Its log says in one line why: the publication is no longer kept, is what
  readers see already, or a table was changed by another hand. Readers who hold a table that has to change its shape
  for a minute stop it too: `pg_stat_activity` tells whose transaction to end.
* **It waits.** A build or a publication is under way; it goes on when that is done.
* **The wrong figures are back the next morning.** The next night publishes what was built. Fix the cause, in a
  branch's revision, reference data or a model, before the night.

Clearing the task does not roll back twice: what was done for a run of this DAG is not done for it again.
"""


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"),
    catchup=False,
    max_active_runs=1,
    tags=["kkbc", "tier:1"],
    doc_md=DOC,
    default_args={
        "owner": "kkbc-data",
        "retries": 1,
        "retry_delay": timedelta(seconds=30),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=30),
    },
    params={
        "why": Param("", type="string", minLength=3, description="The reason, kept with the publication."),
        "to": Param(
            None, type=["null", "integer"], minimum=1, description="Publication to restore; empty: the one before."
        ),
    },
)
def rollback_publication():
    @task
    def roll_back(params=None, dag_run=None) -> dict:
        from kkbc.nights import tasks

        return tasks.roll_back(params, dag_run)

    roll_back()


rollback_publication()
