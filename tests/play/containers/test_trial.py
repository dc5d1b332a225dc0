"""The trial of the containers, without containers: its stand-ins, its record of checks, and its messages."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc_play.containers import cluster, docker, images, kills
from kkbc_play.containers.checks import Failed, Report
from kkbc_play.containers.drop import Drop
from kkbc_play.containers.kills import POINTS, Kills
from kkbc_play.containers.nights import Night
from kkbc_play.containers.stack import WITH_SPARK, Container, Stack
from kkbc_play.containers.trial import RESTARTED, STEPS, Trial

COMPOSE = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that notes its arguments, prints `answer` and ends with `status`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "docker"
    script.write_text(
        f'#!/bin/sh\necho "$KKBC_BIND $*" >> {tmp_path}/asked\n[ -f {tmp_path}/answer ] && cat {tmp_path}/answer\n'
        f"[ -f {tmp_path}/status ] && {{ echo it broke >&2; exit 3; }}\nexit 0\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def test_every_base_image_of_production_has_a_stand_in() -> None:
    named = set(images.named_bases())
    assert named == {images.DEBIAN, *images.STAND_INS}
    for recipe in images.STAND_INS.values():
        assert images.LABEL in (images.RECIPES / recipe).read_text(encoding="utf-8")


def test_production_knows_nothing_of_the_trial() -> None:
    built = ("Dockerfile", "docker/sftp/Dockerfile", "bi/superset/Dockerfile")
    for name in (*built, "docker-compose.yml", ".dockerignore"):
        text = (PROJECT_ROOT / name).read_text(encoding="utf-8")
        assert "trial" not in text, name
        assert "stand-in" not in text, name


def test_the_trial_changes_schedule_reports_and_branch_keys_alone() -> None:
    changed = yaml.safe_load((images.RECIPES / "compose.yml").read_text(encoding="utf-8"))["services"]
    assert set(changed) <= set(COMPOSE["services"])
    for name, service in changed.items():
        if name == "sftp":
            assert set(service) == {"volumes"}
        else:
            assert service == {"environment": {"KKBC_PULL_SCHEDULE": "", "KKBC_REPORT_PAGES": "off"}}


def test_every_lasting_service_is_restarted_in_a_night() -> None:
    always = {name for name, service in COMPOSE["services"].items() if "profiles" not in service}
    assert set(RESTARTED) == always - {"migrate"}
    assert len(RESTARTED) == len(set(RESTARTED))


def test_a_check_that_fails_is_recorded_and_the_next_one_made() -> None:
    said: list[str] = []
    report = Report(said.append)
    assert not report.passed
    with report.check("good") as check:
        check.detail = "seen"
    assert report.passed
    for error in (Failed("wrong figures"), UserError("no answer"), ConnectionRefusedError("refused")):
        with report.check("bad"):
            raise error
    assert not report.passed
    assert [check["passed"] for check in report.as_json()] == [True, False, False, False]
    assert said[1].startswith("ok   good")
    assert "wrong figures" in said[3]
    with pytest.raises(KeyError), report.check("a mistake of the trial itself"):
        raise KeyError


def test_without_an_engine_nothing_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    trial = Trial(tmp_path, "small", lambda _: None)
    trial.run(list(STEPS))
    assert [check.name for check in trial.report.checks] == ["a Docker engine with compose and buildx"]
    assert docker.INSTALL in trial.report.checks[0].detail


def test_what_docker_says_last_is_shown(fake_docker: Path) -> None:
    (fake_docker / "answer").write_text("fine\n")
    assert docker.run(["info"]) == "fine\n"
    (fake_docker / "status").touch()
    with pytest.raises(UserError, match="`docker info` failed with status 3:\nit broke"):
        docker.run(["info"])
    log = fake_docker / "log"
    with pytest.raises(UserError, match="it broke"):
        docker.run(["info"], log=log)
    assert log.read_text() == "fine\nit broke\n"


def test_a_stack_has_secrets_of_its_own_and_is_ready_when_all_is_healthy(fake_docker: Path) -> None:
    stack = Stack(fake_docker)
    assert stack.secrets_file.stat().st_mode & 0o777 == 0o600
    assert Stack(fake_docker).secrets == stack.secrets
    assert len(stack.secrets["POSTGRES_PASSWORD"]) == 48
    once = {"Service": "migrate", "Name": "m", "ID": "1", "State": "exited", "Health": "", "ExitCode": 0}
    lasting = {"Service": "redis", "Name": "r", "ID": "2", "State": "running", "Health": "starting", "ExitCode": 0}
    answer = fake_docker / "answer"
    answer.write_text(f"{json.dumps(once)}\n{json.dumps(lasting)}\n")
    stack.wait_ready(["migrate"], seconds=0)
    with pytest.raises(UserError, match="r is running starting"):
        stack.wait_ready(seconds=0)
    answer.write_text(json.dumps({**lasting, "Health": "healthy"}))
    stack.wait_ready(seconds=0)
    answer.write_text(json.dumps({**once, "ExitCode": 1}))
    with pytest.raises(UserError, match="m is exited"):
        stack.wait_ready(seconds=0)
    asked = (fake_docker / "asked").read_text().splitlines()
    assert all(line.startswith("127.0.0.2 compose --progress plain -p kkbc-trial") for line in asked)


def test_each_branch_has_its_key_and_they_are_made_once(tmp_path: Path) -> None:
    drop = Drop(tmp_path, tmp_path / "keys", "127.0.0.2")
    drop.make_keys(["HQ", "KC001"])
    public = {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}
    assert set(public) == {"HQ.pub", "KC001.pub"}
    assert all(text.startswith("ssh-ed25519 ") for text in public.values())
    assert len(set(public.values())) == 2
    assert (tmp_path / "branch-keys.json").stat().st_mode & 0o777 == 0o600
    drop.make_keys(["HQ", "KC001"])
    assert public == {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}


class Held:
    """Stands for a session that holds a table, and for the workers that wait for it."""

    def __init__(self, waiting: list[str]) -> None:
        self.said: list[str] = []
        self.waiting = waiting

    def execute(self, statement: object) -> "Held":
        self.said.append(statement if isinstance(statement, str) else statement.as_string())  # type: ignore[attr-defined]
        return self

    def fetchone(self) -> tuple[str] | None:
        return (self.waiting[0],) if self.waiting else None

    def close(self) -> None:
        self.said.append("closed")


def test_workers_are_killed_where_they_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The busiest first; then whoever waits for the table that is held, which is let go of as soon as it is dead."""
    workers = [Container("airflow-worker", f"w{n}", str(n) * 12, "running", "healthy", 0) for n in (1, 2)]
    waiting: list[str] = []
    held, killed, scaled = Held(waiting), [], []
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(kills, "run", lambda arguments: killed.append(arguments[-1]))
    monkeypatch.setattr("kkbc_play.containers.nights.workers_of", lambda *_, **__: {"1" * 12: 1, "2" * 12: 3})
    stack = Stack(tmp_path)
    monkeypatch.setattr(Stack, "containers", lambda _: workers)
    monkeypatch.setattr(Stack, "connect", lambda _: held)
    monkeypatch.setattr(Stack, "scale", lambda _, number: scaled.append(number))
    monkeypatch.setattr(Stack, "container_at", lambda _, address: {"10.0.0.1": workers[0]}.get(address))
    night, victims = Night(date(2023, 12, 11), ["run"]), Kills(stack, 2, lambda _: None)
    assert victims(night)
    assert killed == ["w2"]
    assert victims(night), "nobody waits yet"
    waiting.append("10.0.0.9")
    assert victims(night), "who waits is no worker"
    assert killed == ["w2"]
    waiting[0] = "10.0.0.1"
    assert victims(night)
    assert held.said[:2] == ["begin", 'lock table "raw"."registrations" in share mode']
    assert held.said.pop() == "closed"
    assert not victims(night)
    assert 'lock table "bi"."kpi_national_daily" in share mode' in held.said
    assert killed == ["w2", "w1", "w1"]
    assert [line.partition(" ")[2] for line in victims.done] == list(POINTS)
    assert scaled == [2, 2, 2]


def test_settings_of_spark_reach_compose_and_its_containers_are_taken_away(fake_docker: Path) -> None:
    script = fake_docker / "bin" / "docker"
    script.write_text(script.read_text().replace("$KKBC_BIND $*", "$COMPOSE_PROFILES/$KKBC_ENGINE $*"))
    Stack(fake_docker, {**WITH_SPARK, "KKBC_ENGINE": "spark"}).compose("ps")
    Stack(fake_docker).compose("ps")
    Stack(fake_docker).down(volumes=True)
    asked = (fake_docker / "asked").read_text().splitlines()
    assert [line.partition(" ")[0] for line in asked] == ["spark/spark", "/", "/"]
    assert asked[2].endswith("--profile spark down --volumes")
    assert all(WITH_SPARK["COMPOSE_PROFILES"] in COMPOSE["services"][name]["profiles"] for name in cluster.SERVICES)
    assert COMPOSE["services"]["spark-master"]["image"].startswith(WITH_SPARK["KKBC_WORKER_IMAGE"])


def test_parts_of_spark_are_killed_in_the_middle_of_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, each when the build has come so far, and what did not come back is named."""
    parts = [Container(name, f"{name}-1", name, "running", "healthy", 0) for name in cluster.SERVICES]
    begun, killed, restarts = [59], [], {"spark-worker": 1, "spark-master": 0}
    monkeypatch.setattr(cluster, "run", lambda arguments: killed.append(arguments[1]))
    monkeypatch.setattr(Stack, "compose", lambda *_, **__: f"{begun[0]}\n")
    monkeypatch.setattr(Stack, "containers", lambda _: parts)
    monkeypatch.setattr(Stack, "inspect", lambda _, container: {"RestartCount": restarts[container.service]})
    losses, night = cluster.Losses(Stack(tmp_path), lambda _: None), Night(date(2023, 12, 11), ["run"])
    for models, wanted in ((59, []), (68, []), (69, ["spark-worker-1"]), (80, ["spark-worker-1"])):
        begun[0] = models
        assert losses(night)
        assert killed == wanted
    with pytest.raises(Failed, match="only killed: spark-worker-1"):
        losses.came_back()
    begun[0] = 89
    assert not losses(night)
    assert killed == ["spark-worker-1", "spark-master-1"]
    with pytest.raises(Failed, match="not started again by Docker"):
        losses.came_back()
    restarts["spark-master"] = 2
    assert losses.came_back() == "spark-worker-1 started again 1 times, spark-master-1 started again 2 times"


def test_marts_count_as_sparks_when_it_noted_a_whole_build_of_the_night(fake_docker: Path) -> None:
    stack, answer = Stack(fake_docker), fake_docker / "answer"
    answer.write_text('{"warehouse": "7/kkbc", "as_of": "2023-12-11", "number": 1, "brought": {"fct": {}, "dim": {}}}')
    assert cluster.made_by_it(stack, date(2023, 12, 11)) == "build 1 of its folder, 2 tables brought"
    with pytest.raises(Failed, match="whole build is of 2023-12-11, not of 2023-12-12"):
        cluster.made_by_it(stack, date(2023, 12, 12))
    # Under way, or broken off.
    answer.write_text('{"warehouse": "7/kkbc"}')
    with pytest.raises(Failed, match="whole build is of None"):
        cluster.made_by_it(stack, date(2023, 12, 11))


def test_a_service_that_reaches_sparks_thrift_server_and_must_not_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaching = {"airflow-worker"}

    def compose(_: Stack, *arguments: str) -> str:
        if arguments[2] not in reaching:
            raise UserError("refused")
        return ""

    monkeypatch.setattr(Stack, "compose", compose)
    stack = Stack(tmp_path)
    assert cluster.who_reaches_it(stack).startswith("airflow-worker does, ")
    reaching.add("superset")
    with pytest.raises(Failed, match="superset reaches it"):
        cluster.who_reaches_it(stack)
    reaching.clear()
    with pytest.raises(UserError):
        cluster.who_reaches_it(stack)


def test_a_step_that_is_none_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kkbc_play.containers", "--steps", "build,dance", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("kkbc: there is no step dance: name some of build, up, night")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["install-engine.sh", "postgres-entrypoint.sh"])
def test_scripts_of_the_trial_parse(script: str) -> None:
    shell = "sh" if script == "install-engine.sh" else "bash"
    subprocess.run([shell, "-n", str(images.RECIPES / script)], check=True)
