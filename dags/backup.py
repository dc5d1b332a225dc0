"""Every day after maintenance, where KKBC_BACKUP_TO says where to: a backup of warehouse and landing."""

import os
from datetime import timedelta

import pendulum
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule, dag, task

from kkbc.core.errors import UserError

SCHEDULE = "30 13 * * *" if os.environ.get("KKBC_BACKUP_TO") else None

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(UserError, RetryAction.FAIL, reason="a person has to fix this: trying again would not help")]
)

DOC = """
### Backup

A backup of warehouse, landing and Airflow's metadata into KKBC_BACKUP_TO, of which the newest `backups_kept` (14) are
kept. The same by hand: `kkbc backup`. Keys are in none of them. How to restore: docs/runbooks/back-up-and-restore.md.

| Task | Does |
| --- | --- |
| `take_backup` | one snapshot of the warehouse, and what is new in landing |

### Triage
* **The target is full or cannot be written.** The backups of before are untouched. Free space or lower `backups_kept`,
  then clear the task: what was copied is not copied again.
* **It waits.** A build is under way; the backup begins when its step ends. A build that comes meanwhile waits until the
  warehouse is dumped, and not for landing.
* **Landing does not hold the bytes of a slice.** The backup is whole, landing is not: restore that file from an earlier
  backup, see the runbook.
* **It ran into its time limit.** Clear the task: it goes on with the contents that are not there yet.

Runs may be repeated at will.
"""


@dag(
    schedule=SCHEDULE,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    tags=["kkbc", "tier:2"],
    doc_md=DOC,
    default_args={
        "owner": "kkbc-data",
        "retries": 1,
        "retry_delay": timedelta(minutes=5),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=55),
    },
)
def backup():
    @task
    def take_backup() -> dict:
        from kkbc.upkeep import backup

        return backup.take_scheduled()

    take_backup()


backup()
