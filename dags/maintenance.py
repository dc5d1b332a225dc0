"""Every day at noon, when nothing is pulled: what keeps warehouse and home quick and small, a task for each part."""

import os
from datetime import timedelta

import pendulum
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule, dag, task

from kkbc.core.errors import UserError

# A home that lives on played nights is left alone: the local stack empties the schedules.
SCHEDULE = None if os.environ.get("KKBC_PULL_SCHEDULE") == "" else "15 12 * * *"

# Those of kkbc.upkeep.maintenance, written out because importing it would make parsing slow.
PARTS = (
    *("partitions", "rows", "publications", "persons", "landing", "compaction"),
    *("exports", "logs", "airflow", "analyze", "documents"),
)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(UserError, RetryAction.FAIL, reason="a person has to fix this: trying again would not help")]
)

DOC = """
### Maintenance

One task a part, one at a time; the policy is config/maintenance.yml. The same by hand: `kkbc maintain`; try
`--dry-run` there first.

| Task | Does |
| --- | --- |
| `partitions` | month partitions of raw and vault, ahead of the first row |
| `rows` | rows of ops past their time: visits, steps, results, messages |
| `publications` | what is kept to take publications back, beyond `publications_kept` |
| `persons` | persons of the vault who were not heard of for years; rows that wait in quarantine for too long |
| `landing` | revisions in force, superseded and rejected, texts of closed quarantine, folders of killed processes |
| `compaction` | one file of the rows of slices that came in parts |
| `exports` | exports and reports in the home's own folders |
| `logs` | logs of tasks, of dbt and of the home's processes |
| `airflow` | Airflow's own runs and audit log, where its database can be reached |
| `analyze` | the planner's statistics |
| `documents` | the docs site: dictionary, lineage, audit results, reconciliation as of today |

### Triage
* **A part is red.** The others are done all the same: no part needs another. Its log says what is in the way: a full
  disk, a folder that cannot be written, a login that may not. Fix it and clear the task, or wait for tomorrow.
* **`compaction` or `publications` takes long.** They wait for a build that is under way.
* **The disk fills all the same.** docs/runbooks/maintenance.md says what each part took, and which days to shorten.

Runs may be repeated at will.
"""


@dag(
    schedule=SCHEDULE,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    tags=["kkbc", "tier:3"],
    doc_md=DOC,
    default_args={
        "owner": "kkbc-data",
        "retries": 1,
        "retry_delay": timedelta(minutes=5),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=55),
    },
)
def maintenance():
    @task
    def part(name: str) -> dict:
        from kkbc.upkeep import maintenance

        return maintenance.maintain([name])[0].as_json()

    # One at a time, for they share the disk, and in no order: a part that fails keeps none from its work.
    for name in PARTS:
        part.override(task_id=name)(name)


maintenance()
