"""On every announcement of new slices: the marts are built aside, audited, and published in one transaction."""

from datetime import timedelta

import pendulum
from airflow.sdk import Asset, ExceptionRetryPolicy, Param, RetryAction, RetryRule, chain, dag, task

from kkbc.core.errors import UserError

SLICES = Asset("kkbc.slices")

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(UserError, RetryAction.FAIL, reason="a person has to fix this: trying again would not help")]
)

DOC = """
### Build, audit, publish

Runs when `pull_branches` announces new slices, one run at a time, over everything loaded since the last publication;
several announcements that came meanwhile are one build, for the newest of them.

| Task | Does |
| --- | --- |
| `open_build` | notes the build and claims the slices it covers |
| `build_seeds` | reference data, when it has changed |
| `audit_slices` | checks the batch as it came: volumes, codes, missing values; holds slices that are clearly out |
| `build_models` | one `dbt build` over what passed, into a schema that no reader sees |
| `audit_marts` | checks what was built: keys, bounds, reconciliation with the slices |
| `publish` | only when both audits pass: all marts switch in one transaction |
| `write_report` | writes the night's report; without one the night is published all the same |
| `close_build` | notes a failed build as failed, so that the next one covers its slices again |
| `notify` | tells the operators what came of the night, once a night, and sends its figures where metrics are on |

### Triage
* **An audit is red.** Readers go on seeing the last published night. The log and `ops.expectation_result` name the
  slice and the observed value. Fix the cause (a branch's revision, a quarantine, a contract); the next run builds
  again. To publish all the same, decide so knowingly: `KKBC_GATE=warn` (docs/runbooks/the-gate-is-red.md).
* **`audit_slices` is green and says `held`.** Those branches' new slices are not in this publication. `kkbc gate list`
  says why; `kkbc gate release` lets one in (docs/runbooks/a-branch-is-held.md).
* **A `build_*` is red.** `ops.dbt_result` names model and message; nothing was published.
* **`publish` is red.** The transaction was rolled back, so readers see the last night. Clear it to try again.
* **There is no report.** `write_report` is green whatever happened; its log says why there is none, and `kkbc report`
  writes one (docs/runbooks/the-nights-report.md).
* **Nobody was told.** `notify` is green whatever its channels say; its log and `ops.notification` name the one that
  failed (docs/runbooks/notifications.md).
* **The figures are wrong, yet all is green.** Roll back to the publication before, then look for the cause.
"""


@dag(
    schedule=[SLICES],
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Jakarta"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=16,
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
        "run_id": Param(
            None, type=["null", "string"], description="Pull run to build for; empty: the one that announced."
        ),
        "gate": Param(
            None, enum=[None, "fail", "warn"], description="What a failed audit does; empty: as in the settings."
        ),
    },
)
def build_marts():
    @task(multiple_outputs=True, inlets=[SLICES])
    def open_build(params=None, triggering_asset_events=None, inlet_events=None) -> dict:
        from kkbc.nights import tasks

        return tasks.open_build(params, triggering_asset_events, inlet_events[SLICES])

    @task
    def build_layer(build_id: int, layer: str) -> dict:
        from kkbc import nights

        return nights.build_layer(build_id, layer)

    @task
    def audit_slices(build_id: int) -> dict:
        from kkbc import nights

        return nights.audit_slices(build_id)

    @task
    def audit_marts(build_id: int) -> dict:
        from kkbc import nights

        return nights.audit_marts(build_id)

    @task
    def publish(build_id: int) -> dict:
        from kkbc import nights

        return nights.publish(build_id)

    @task
    def write_report(build_id: int) -> list:
        from kkbc import nights

        return nights.write_report(build_id)

    @task
    def close_build(build_id: int, ti=None, run_id=None) -> None:
        from kkbc import nights

        nights.close_build(build_id, ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id])[run_id])

    @task
    def notify(pull_run: str) -> None:
        from kkbc.nights import tasks

        tasks.notify(pull_run)

    opened = open_build()
    build_id = opened["build_id"]
    seeds, models = (build_layer.override(task_id=f"build_{name}")(build_id, name) for name in ("seeds", "models"))
    marts = audit_marts(build_id)
    # A slice that is held is not built over. A teardown runs however the build ends, and does not hide its failure.
    ends = (write_report(build_id), close_build(build_id), notify(opened["run_id"]))
    reported, closed, notified = (end.as_teardown(setups=opened) for end in ends)
    chain([seeds, audit_slices(build_id)], models, marts, publish(build_id), [reported, closed], notified)


build_marts()
