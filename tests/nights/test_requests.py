"""What a run was asked for is a row: whoever does a later step reads it there, in whatever process."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kkbc import nights
from kkbc.core import tokens
from kkbc.core.errors import GateFailed, UserError
from kkbc.core.settings import get_settings
from kkbc.gate import AuditResult, Finding
from kkbc.marts import state
from kkbc.nights import RunRequest, backfill, build
from kkbc.nights.request import read_request
from kkbc.warehouse import connect
from tests.deliveries import deliver

DAY = date(2023, 12, 11)

# Does one step as a worker of Airflow does: all that it is given is the name of the run or the number of the build.
# What would take minutes or a branch is replaced by a word of what it was called with.
STEP = """
import json, sys
from kkbc import nights
from kkbc.core.errors import GateFailed
from kkbc.gate import AuditResult, Finding
import kkbc.nights.branch, kkbc.nights.build, kkbc.nights.visit

def audit(checkpoint, build_id):
    return AuditResult(checkpoint, build_id, (Finding("s", "e", "c", "fail", False, "<= 5", 1, (("s", "9"),)),))

def build(layer, **more):
    print(json.dumps({"full_refresh": more["full_refresh"], "as_of": str(more["as_of"]),
                      "first": str(more["first_business_date"])}))
    return []

def pull(conn, branch, *, run_id, until, root):
    wanted = kkbc.nights.visit._wanted(conn, branch, run_id, until)
    print(json.dumps({"kind": branch.kind, "connection": branch.connection, "until": str(until), "root": str(root),
                      "since": str(wanted.since)}))
    return kkbc.nights.attempt.PullReport(branch.branch_id, branch.kind, kkbc.nights.attempt.clock.now())

kkbc.nights.build.audit, kkbc.nights.build.build, kkbc.nights.branch.pull = audit, build, pull
step, *arguments = json.loads(sys.argv[1])
try:
    getattr(nights, step)(*arguments)
except GateFailed:
    print(json.dumps("stopped"))
else:
    print(json.dumps("passed"))
"""


def in_a_fresh_process(step: str, *arguments: Any) -> list[Any]:
    """What the step printed, line by line."""
    environment = {name: value for name, value in os.environ.items() if name != "KKBC_GATE"}
    done = subprocess.run(
        [sys.executable, "-c", STEP, json.dumps([step, *arguments])],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def root(warehouse: str, home: Path, tmp_path: Path) -> Path:
    tokens.ensure_key(home)
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every audit finds something of severity fail."""

    def audit(checkpoint: Any, build_id: int) -> AuditResult:
        finding = Finding("s", "e", "c", "fail", False, "<= 5", 1, (("s", "9"),))
        return AuditResult(checkpoint, build_id, (finding,))

    monkeypatch.setattr(build, "audit", audit)


def open_run(run_id: str, root: Path, as_of: date = DAY, **asked: Any) -> str:
    return nights.open_run(RunRequest(as_of, root, **asked), mode="plain", run_id=run_id).run_id


def query(statement: str) -> list[Any]:
    with connect() as conn:
        return conn.execute(statement.encode()).fetchall()


def built(build_id: int) -> None:
    """Notes that the marts were made whole by a build."""
    with connect("transformer") as conn:
        state.complete(conn, DAY, DAY, state.project_digest(), build_id)


def test_what_was_asked_is_read_as_it_was_written(root: Path) -> None:
    asked = RunRequest(
        DAY,
        root,
        {"KC001": "http:api_1"},
        DAY - timedelta(days=3),
        "warn",
        full_refresh=True,
        branch_ids=("KC001", "KC044"),
    )
    assert {field.name for field in fields(asked) if getattr(asked, field.name) == field.default} == {
        "reread",
        "requested_by",
    }
    assert RunRequest.from_params(json.loads(json.dumps(asked.as_params()))) == asked
    run = nights.open_run(asked, mode="plain", run_id="r")
    assert run.branch_ids == ["KC001", "KC044"]
    with connect("loader") as conn:
        found = read_request(conn, "r")
    # The ways are those that hold: whatever is not named is in the folder.
    assert found == RunRequest(
        DAY,
        root,
        {"*": "file", "KC001": "http:api_1"},
        DAY - timedelta(days=3),
        "warn",
        full_refresh=True,
        branch_ids=("KC001", "KC044"),
    )


def test_a_backfill_is_asked_of_its_run_too(root: Path) -> None:
    open_run("night", root)
    asked = RunRequest(gate="warn", branch_ids=("KC001",), reread=(DAY, DAY), requested_by="airflow admin")
    backfill.open_backfill(asked, mode="airflow", run_id="b")
    with connect("loader") as conn:
        assert read_request(conn, "b") == RunRequest(
            DAY, gate="warn", branch_ids=("KC001",), reread=(DAY, DAY), requested_by="airflow admin"
        )


def test_a_branch_of_a_backfill_is_read_from_landing_and_not_visited(root: Path) -> None:
    deliver(root, {"pendaftaran": [{}]}, branch_id="KC001", day=DAY)
    open_run("night", root)
    nights.pull_branch("night", "KC001")
    backfill.open_backfill(RunRequest(reread=(DAY, DAY), requested_by="airflow admin"), mode="airflow", run_id="b")
    summary = nights.pull_branch("b", "KC001")
    assert summary == {"slices": 1, "rows": 1, "accepted": 1, "passed": 0, "found": 0, "failed": {}}
    assert query("select count(*) from ops.attempt where run_id = 'b'") == [(0,)]


def test_a_run_that_is_opened_again_keeps_its_first_request(root: Path) -> None:
    open_run("r", root, gate="warn")
    open_run("r", root)
    assert query("select gate from ops.run") == [("warn",)]


def test_a_run_that_says_nothing_of_the_gate_has_the_one_that_is_set_at_the_moment_of_the_step(
    root: Path, failing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = nights.open_build(open_run("r", root))
    monkeypatch.setenv("KKBC_GATE", "warn")
    get_settings.cache_clear()
    assert nights.audit_marts(build_id)["failed"] == 1
    monkeypatch.setenv("KKBC_GATE", "fail")
    get_settings.cache_clear()
    with pytest.raises(GateFailed):
        nights.audit_marts(build_id)
    assert query("select outcome from ops.build") == [("gate_failed",)]


def test_two_nights_of_one_process_with_different_gates_do_not_influence_one_another(
    root: Path, failing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KKBC_GATE", raising=False)
    before = dict(os.environ)
    lenient = nights.open_build(open_run("lenient", root, gate="warn"))
    assert nights.audit_marts(lenient)["failed"] == 1
    strict = nights.open_build(open_run("strict", root, DAY + timedelta(days=1), gate="fail"))
    silent = nights.open_build(open_run("silent", root, DAY + timedelta(days=2)))
    for build_id in (strict, silent):
        with pytest.raises(GateFailed):
            nights.audit_marts(build_id)
    assert nights.audit_slices(lenient)["held"] == []
    assert nights.audit_marts(lenient)["failed"] == 1
    assert dict(os.environ) == before
    assert get_settings().gate == "fail"


def test_a_build_that_takes_over_slices_of_several_runs_goes_by_what_its_own_run_asks(
    root: Path, failing: None
) -> None:
    """The newest announcement's run, in Airflow; that of the process, without."""
    for branch_id, run_id, gate in (("KC001", "first", "warn"), ("KC002", "second", None)):
        deliver(root, {"pendaftaran": [{}]}, branch_id=branch_id, day=DAY)
        open_run(run_id, root, gate=gate)
        nights.pull_branch(run_id, branch_id)
    of_second = nights.open_build("second")
    assert query("select distinct build_id from ops.slice") == [(of_second,)]
    with pytest.raises(GateFailed):
        nights.audit_marts(of_second)
    of_first = nights.open_build("first")
    assert query("select distinct build_id from ops.slice") == [(of_first,)]
    assert nights.audit_marts(of_first)["failed"] == 1


def test_a_gate_that_is_asked_of_one_build_goes_before_that_of_its_run_and_holds_for_no_other(
    root: Path, failing: None
) -> None:
    open_run("r", root, gate="fail")
    assert nights.audit_marts(nights.open_build("r", gate="warn"))["failed"] == 1
    with pytest.raises(GateFailed):
        nights.audit_marts(nights.open_build("r"))


def test_a_full_refresh_that_was_asked_for_is_owed_until_a_build_has_made_it(root: Path) -> None:
    built(nights.open_build(open_run("before", root)))
    open_run("asks", root, full_refresh=True)
    # Whichever run comes to be built: that of the request may have been killed, or overtaken by another one.
    open_run("next", root)
    assert nights.close_pull("next")["news"]
    build_id = nights.open_build("next")
    assert build.read_build(build_id).full_refresh
    built(build_id)
    assert not build.read_build(build_id).full_refresh
    open_run("after", root)
    assert not build.read_build(nights.open_build("after")).full_refresh
    # One that asks is rebuilt however often it is built.
    assert build.read_build(nights.open_build("asks")).full_refresh


def test_the_first_day_of_a_build_is_what_its_run_asks_else_what_is_kept(root: Path) -> None:
    open_run("asks", root, first_business_date=DAY - timedelta(days=9))
    open_run("asks another", root, first_business_date=DAY - timedelta(days=5))
    open_run("silent", root)
    firsts = [
        build.read_build(nights.open_build(run)).first_business_date for run in ("asks", "asks another", "silent")
    ]
    assert firsts == [DAY - timedelta(days=9), DAY - timedelta(days=5), DAY - timedelta(days=5)]


def test_a_task_in_a_fresh_process_sees_what_was_asked(root: Path) -> None:
    """It gets the name of the run or the number of the build and nothing else."""
    first = DAY - timedelta(days=9)
    open_run("asks", root, gate="warn", ways={"KC001": "http:api_1"}, first_business_date=first, full_refresh=True)
    since = str(first - timedelta(days=get_settings().history_days))
    visit = {"until": str(DAY), "root": str(root), "since": since}
    assert in_a_fresh_process("pull_branch", "asks", "KC001") == [
        {"kind": "http", "connection": "api_1", **visit},
        "passed",
    ]
    assert in_a_fresh_process("pull_branch", "asks", "KC002") == [
        {"kind": "file", "connection": None, **visit},
        "passed",
    ]
    build_id = nights.open_build("asks")
    assert in_a_fresh_process("build_layer", build_id, "models") == [
        {"full_refresh": True, "as_of": str(DAY), "first": str(first)},
        "passed",
    ]
    assert in_a_fresh_process("audit_slices", build_id) == ["passed"]
    assert in_a_fresh_process("audit_marts", build_id) == ["passed"]
    built(build_id)
    open_run("silent", root, DAY + timedelta(days=1))
    build_id = nights.open_build("silent")
    assert in_a_fresh_process("build_layer", build_id, "models") == [
        {"full_refresh": False, "as_of": str(DAY + timedelta(days=1)), "first": str(first)},
        "passed",
    ]
    assert in_a_fresh_process("audit_slices", build_id) == ["stopped"]


@pytest.mark.parametrize("step", ["pull_branch", "close_pull", "open_build"])
def test_a_run_that_nobody_opened_is_a_mistake(root: Path, step: str) -> None:
    arguments = ("nobody's", "KC001") if step == "pull_branch" else ("nobody's",)
    with pytest.raises(UserError, match="is not known to the warehouse: open it first: the task open_run does"):
        getattr(nights, step)(*arguments)
