"""How the two main DAGs hang together."""

import re
import runpy
from datetime import timedelta

import pytest
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Asset, RetryAction, TriggerRule
from airflow.sdk.exceptions import ParamValidationError

from kkbc.core.errors import GateFailed, UserError
from kkbc.core.settings import Settings
from kkbc.exchange.registry import load_registry
from kkbc.marts.runner import LAYERS
from kkbc.nights import groups
from kkbc_play.stack import configuration
from tests.dags.conftest import DAGS


def test_every_group_of_branches_is_a_task_in_the_pool_that_up_makes(dags: dict[str, DAG]) -> None:
    pull = dags["pull_branches"].get_task("pull_group")
    assert pull.is_mapped
    assert pull.pool == configuration.PULL_POOL
    # However small the groups are.
    assert dags["pull_branches"].max_active_tasks >= len(load_registry().branches)


def test_branches_that_fail_in_every_group_do_not_stop_the_night(dags: dict[str, DAG]) -> None:
    close = dags["pull_branches"].get_task("close_pull")
    assert close.trigger_rule == TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
    # The success of open_run is the one: without it, or when it was skipped, nothing is closed.
    assert close.upstream_task_ids == {"open_run", "pull_group"}


def test_a_group_has_the_time_of_all_visits_that_it_makes_in_a_row(dags: dict[str, DAG]) -> None:
    pull = dags["pull_branches"].get_task("pull_group")
    visits = timedelta(seconds=Settings.model_fields["visit_seconds"].default) * groups.ROUNDS
    assert visits + timedelta(minutes=5) < pull.execution_timeout
    assert pull.retries == 2


def test_the_build_waits_for_the_announcement_of_the_pulls(dags: dict[str, DAG]) -> None:
    condition = dags["build_marts"].timetable.asset_condition
    assert list(condition.objects) == [Asset("kkbc.slices")]


def test_models_are_built_over_what_passed_the_gate_only(dags: dict[str, DAG]) -> None:
    build = dags["build_marts"]
    assert build.get_task("build_models").upstream_task_ids >= {f"build_{LAYERS[0]}", "audit_slices"}
    assert build.get_task("audit_marts").upstream_task_ids >= {f"build_{LAYERS[1]}"}
    for name in ("build_models", "audit_marts"):
        assert build.get_task(name).trigger_rule == TriggerRule.ALL_SUCCESS


def test_nothing_is_published_unless_both_audits_pass(dags: dict[str, DAG]) -> None:
    publish = dags["build_marts"].get_task("publish")
    assert publish.get_flat_relative_ids(upstream=True) >= {"audit_slices", "audit_marts"}
    assert publish.trigger_rule == TriggerRule.ALL_SUCCESS


def test_slices_are_audited_next_to_the_seeds(dags: dict[str, DAG]) -> None:
    audit = dags["build_marts"].get_task("audit_slices")
    assert audit.get_flat_relative_ids(upstream=True) == {"open_build"}


def test_a_failed_build_is_closed_without_hiding_its_failure(dags: dict[str, DAG]) -> None:
    close = dags["build_marts"].get_task("close_build")
    assert close.is_teardown
    assert "publish" in close.upstream_task_ids


def test_what_a_person_must_fix_is_not_tried_again(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        for task in dag.tasks:
            for error in (UserError("the login is refused", "fix it"), GateFailed("stopped", "look")):
                assert task.retry_policy.evaluate(error, 1, 3).action == RetryAction.FAIL


def test_a_line_that_may_come_back_is_tried_again(dags: dict[str, DAG]) -> None:
    pull = dags["pull_branches"].get_task("pull_group")
    for error in (TimeoutError("timed out"), ConnectionRefusedError("refused")):
        assert pull.retry_policy.evaluate(error, 1, 3).action == RetryAction.RETRY


def test_a_retry_of_the_quarantine_is_started_by_hand_and_never_without_a_reason(dags: dict[str, DAG]) -> None:
    retry = dags["retry_quarantine"]
    assert retry.schedule is None
    assert retry.params.get_param("why").schema["minLength"] > 0
    with pytest.raises(ParamValidationError):
        retry.params.validate()


def test_a_retry_goes_branch_by_branch_and_is_announced_like_a_pull(dags: dict[str, DAG]) -> None:
    retry, pull = dags["retry_quarantine"], dags["pull_branches"]
    assert retry.get_task("retry_branch").pool == configuration.PULL_POOL
    close = retry.get_task("close_retry")
    assert close.upstream_task_ids == {"retry_branch"}
    # What one branch brought is announced even when another one failed, or when all had been done before.
    assert close.trigger_rule == TriggerRule.ALL_DONE
    assert close.outlets == pull.get_task("close_pull").outlets


def test_a_rollback_is_started_by_hand_and_never_without_a_reason(dags: dict[str, DAG]) -> None:
    rollback = dags["rollback_publication"]
    assert rollback.schedule is None
    assert rollback.params.get_param("why").schema["minLength"] > 0
    assert rollback.params.get_param("to").value is None
    with pytest.raises(ParamValidationError):
        rollback.params.validate()


def test_operators_are_told_however_a_build_ends_and_that_hides_no_failure(dags: dict[str, DAG]) -> None:
    notify = dags["build_marts"].get_task("notify")
    assert notify.is_teardown
    assert notify.get_flat_relative_ids(upstream=True) >= {"publish", "close_build"}
    assert not dags["build_marts"].get_task("close_build").get_flat_relative_ids(upstream=True) & {"notify"}


def test_the_report_is_written_after_the_publication_and_its_failure_is_no_failure_of_the_night(
    dags: dict[str, DAG],
) -> None:
    report = dags["build_marts"].get_task("write_report")
    assert report.upstream_task_ids >= {"publish"}
    assert report.is_teardown
    assert not report.on_failure_fail_dagrun
    # The message names the report.
    assert "write_report" in dags["build_marts"].get_task("notify").upstream_task_ids


def test_the_deadline_is_watched_every_morning_and_waits_for_a_warehouse_that_is_away(
    dags: dict[str, DAG],
) -> None:
    watch = dags["watch_deadline"]
    assert watch.schedule == "0 5 * * *"
    assert str(watch.timezone) == "Asia/Jakarta"
    task = watch.get_task("check_deadline")
    assert task.retry_policy.evaluate(ConnectionError("away"), 1, 4).action == RetryAction.RETRY


def test_parts_of_maintenance_are_alone_on_the_disk_and_need_no_other(dags: dict[str, DAG]) -> None:
    maintenance = dags["maintenance"]
    assert maintenance.max_active_tasks == 1
    assert all(not task.upstream_task_ids for task in maintenance.tasks)


def test_backups_are_scheduled_where_it_is_said_where_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, schedule in (("", None), ("/mnt/backup", "30 13 * * *")):
        monkeypatch.setenv("KKBC_BACKUP_TO", place)
        assert runpy.run_path(str(DAGS / "backup.py"))["SCHEDULE"] == schedule


def test_a_backfill_reads_landing_unless_asked_otherwise(dags: dict[str, DAG]) -> None:
    reread = dags["pull_branches"].params.get_param("reread")
    assert reread.value == "landing"
    assert reread.schema["enum"] == ["landing", "branches"]


def test_persons_are_erased_after_somebody_approved_and_a_refusal_is_on_record(dags: dict[str, DAG]) -> None:
    erasing = dags["erase_persons"]
    approve = erasing.get_task("approve")
    assert isinstance(approve, ApprovalOperator)
    # No answer is no approval, and a refusal skips no more than the erasure.
    assert approve.defaults is None
    assert not approve.ignore_downstream_trigger_rules
    assert approve.upstream_task_ids == {"count"}
    assert approve.downstream_task_ids == {"erase"}
    assert erasing.get_task("refuse").upstream_task_ids == {"erase"}
    assert erasing.get_task("refuse").trigger_rule == TriggerRule.ALL_SKIPPED
    # A run ends as what nothing follows does: not as a refusal that is skipped because the erasure failed.
    (last,) = erasing.leaves
    assert last.upstream_task_ids == {"erase", "refuse"}
    assert last.trigger_rule == TriggerRule.NONE_FAILED


@pytest.mark.parametrize("request_id", ["1171011203909001 Budi", "", "../x", "a" * 65])
def test_a_run_names_a_request_and_no_person(dags: dict[str, DAG], request_id: str) -> None:
    assert set(dags["erase_persons"].params) == {"request"}
    pattern = dags["erase_persons"].params.get_param("request").schema["pattern"]
    assert not re.search(pattern, request_id)
    with pytest.raises(ParamValidationError):
        dags["erase_persons"].params.validate()  # a run without one
