"""By hand, after a rule, a code list or the registry was corrected: quarantined rows are judged again, and loaded."""

from datetime import timedelta

import pendulum
from airflow.sdk import Asset, AssetAlias, ExceptionRetryPolicy, Param, RetryAction, RetryRule, TriggerRule, dag, task

from kkbc.core.errors import UserError

SLICES = Asset("kkbc.slices")
# The asset is announced through its alias, for only an alias can be left without an event when nothing changed.
LOADED = AssetAlias("kkbc.loaded")

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(UserError, RetryAction.FAIL, reason="a person has to fix this: trying again would not help")]
)

DOC = """
### Retry the quarantine

Judges open quarantined rows again by today's rules, code lists and registry, from the landed files, and loads those
that pass into their slices. Trigger it with a reason (`why`), and with filters unless all open rows are meant. The
same by hand: `kkbc quarantine retry`; try `--dry-run` there first.

| Task | Does |
| --- | --- |
| `open_retry` | notes a run, lists the branches that have such rows |
| `retry_branch` | one branch each: read again, judge, load; each slice is one transaction |
| `close_retry` | the sum; announces `kkbc.slices` when something changed, so that `build_marts` runs |

### Triage
* **A `retry_branch` task is red.** Its log names the slices that could not be retried and why: a landed file that is
  gone or altered (restore it from the backup of landing), a branch that is not in the registry, a contract that is
  broken. The other slices of the branch, and the other branches, are done. Fix the cause, then clear the task.
* **`open_retry` is red.** A filter names a branch, feed or code that does not exist, or the warehouse is out of reach.
* **All green, and no `build_marts` run followed.** No verdict changed: the correction is not in the contracts,
  seeds and registry that the workers read, or the rows are bad for other reasons. `kkbc quarantine show` tells.

Runs may be repeated at will: a row that was accepted is not loaded twice.
"""


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=16,
    tags=["kkbc", "tier:2"],
    doc_md=DOC,
    default_args={
        "owner": "kkbc-data",
        "retries": 1,
        "retry_delay": timedelta(seconds=30),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=30),
    },
    params={
        "why": Param("", type="string", minLength=3, description="The reason, kept with the rows: what was corrected."),
        "branch": Param(None, type=["null", "string"], description="Rows of this branch only, e.g. KC044."),
        "feed": Param(None, type=["null", "string"], description="Rows of this feed only, e.g. pendaftaran."),
        "since": Param(None, type=["null", "string"], format="date", description="From this business date."),
        "until": Param(None, type=["null", "string"], format="date", description="To this business date."),
        "code": Param(None, type=["null", "string"], description="Rows with this error code only, e.g. CODE_UNKNOWN."),
        "gate": Param(
            None, enum=[None, "fail", "warn"], description="What a failed audit does; empty: as in the settings."
        ),
    },
)
def retry_quarantine():
    @task
    def open_retry(params=None, dag_run=None) -> list[str]:
        from kkbc.nights import tasks

        return tasks.open_retry(params, dag_run)

    @task(pool="branch_pulls", map_index_template="{{ task.op_kwargs['branch_id'] }}", do_xcom_push=False)
    def retry_branch(branch_id: str, params=None, dag_run=None) -> None:
        from kkbc.nights import tasks

        print(tasks.retry_branch(branch_id, params, dag_run))

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[LOADED])
    def close_retry(dag_run=None, outlet_events=None) -> dict:
        from kkbc.nights import tasks

        return tasks.close_retry(dag_run, lambda extra: outlet_events[LOADED].add(SLICES, extra=extra))

    retry_branch.expand(branch_id=open_retry()) >> close_retry()


retry_quarantine()
