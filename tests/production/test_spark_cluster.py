"""Spark in the containers: what each of its services is given and told, and what is said where that does not do."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kkbc.core.settings import Settings
from kkbc.marts.spark import place
from tests.http_server import Handler, served

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "docker" / "spark.py"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SPARK = {name: service for name, service in SERVICES.items() if "spark" in service.get("profiles", [])}
CODE = runpy.run_path(str(PROGRAM))
KNOWN = "invented-for-this-test-0123456789"
GIVEN = {
    "KKBC_SPARK_SECRET": KNOWN,
    "KKBC_SPARK_WORKER_MEMORY": "3g",
    "KKBC_SPARK_WORKER_CORES": "2",
    "KKBC_SPARK_THRIFT_MEMORY": "2048m",
    "SPARK_HOME": "/opt/spark",
}


def told(part: str) -> dict[str, str]:
    """The options of a part, as Java reads them: what is set last counts."""
    lines = CODE["options"](part, GIVEN).splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def test_the_profile_is_a_master_workers_and_a_thrift_server_and_nothing_waits_for_it() -> None:
    assert set(SPARK) == {"spark-master", "spark-worker", "spark-thrift"}
    assert re.fullmatch(r"\$\{KKBC_SPARK_WORKERS:-2\}", SPARK["spark-worker"]["scale"])
    assert [name for name, service in SPARK.items() if "build" in service] == ["spark-master"]
    for name, service in SERVICES.items():
        assert name in SPARK or not set(service.get("depends_on", {})) & set(SPARK), name


def test_services_of_spark_get_no_login_no_key_and_no_port_of_the_machine() -> None:
    for name, service in SPARK.items():
        variables = set(service["environment"])
        assert {variable for variable in variables if not variable.startswith("KKBC_SPARK_")} == set(), name
        assert service["volumes"] == ["spark:/var/lib/kkbc/spark"], name
        assert "ports" not in service, name


def test_the_cluster_is_on_a_network_of_its_own_with_airflows_workers() -> None:
    """Its Thrift server asks for no password."""
    on_it = {name for name, service in SERVICES.items() if "spark" in service.get("networks", [])}
    assert on_it == {*SPARK, "airflow-worker"}
    assert all(service["networks"] == ["spark"] for service in SPARK.values())
    assert COMPOSE["networks"]["spark"] == {"internal": True}


def test_who_changes_rows_or_keys_sees_what_spark_keeps_of_them() -> None:
    """An erasure and a change of the key empty Spark's folder, whatever runs."""
    with_key = {n for n, service in SERVICES.items() if any(str(v).startswith("keys:") for v in service["volumes"])}
    with_folder = {n for n, service in SERVICES.items() if "spark:/var/lib/kkbc/spark" in service["volumes"]}
    assert with_folder == with_key | set(SPARK)


def test_workers_and_cluster_agree_on_folder_address_and_environment() -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    home = re.search(r"KKBC_HOME=(\S+)", image)
    assert home is not None
    settings = Settings(home=Path(home[1]))
    assert str(place.folder(settings)) == str(CODE["TABLES"])
    assert told("thrift")["spark.sql.warehouse.dir"] == str(place.warehouse(settings))
    assert SERVICES["airflow-worker"]["environment"]["KKBC_SPARK_THRIFT"] == f"{CODE['THRIFT']}:{CODE['THRIFT_PORT']}"
    assert told("thrift")["spark.hadoop.hive.server2.thrift.port"] == str(CODE["THRIFT_PORT"])
    assert {CODE["MASTER"], CODE["THRIFT"]} <= set(SPARK)
    stage = image.partition("FROM pipeline AS spark\n")[2]
    environment = re.search(r"KKBC_SPARK_ENVIRONMENT=(\S+)", stage)
    assert environment is not None
    assert f"COPY --from=spark-environment {environment[1]} {environment[1]}" in stage
    assert stage.rstrip().endswith("USER kkbc")


@pytest.mark.parametrize("part", CODE["PARTS"])
def test_each_part_is_told_what_every_cluster_is_told_and_the_secret(part: str) -> None:
    shared = (ROOT / "spark" / "spark-defaults.conf").read_text(encoding="utf-8")
    common = dict(line.split(" ", 1) for line in shared.splitlines() if line and not line.startswith("#"))
    assert common["spark.authenticate"] == "true"
    assert common["spark.sql.session.timeZone"] == "UTC"
    assert common.items() <= told(part).items()
    assert told(part)["spark.authenticate.secret"] == KNOWN
    assert ("spark.deploy.recoveryMode" in told(part)) == (part == "master")


def test_no_secret_is_in_a_command_or_in_what_executors_inherit() -> None:
    for part in CODE["PARTS"]:
        assert KNOWN not in " ".join(CODE["command_of"](part, GIVEN))
        assert KNOWN not in CODE["environment_of"](part, {**GIVEN, "PATH": "/bin"}).values()


def test_heaps_follow_the_limits_of_the_containers() -> None:
    """An executor and its worker fit the limit of a container, and the executor what the worker offers."""
    worker = CODE["command_of"]("worker", GIVEN)
    assert worker[worker.index("--memory") + 1] == told("thrift")["spark.executor.memory"] == "1920m"
    assert worker[worker.index("--cores") + 1] == "2"
    assert CODE["environment_of"]("thrift", GIVEN)["SPARK_DAEMON_MEMORY"] == "1152m"
    for name in ("spark-worker", "spark-thrift"):
        service = SPARK[name]
        variable = f"KKBC_{name.upper().replace('-', '_')}_MEMORY"
        assert service["environment"][variable] == service["mem_limit"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("KKBC_SPARK_SECRET", "", "KKBC_SPARK_SECRET must have 32 letters and digits at least: put it into"),
        ("KKBC_SPARK_SECRET", "short", "KKBC_SPARK_SECRET must have"),
        ("KKBC_SPARK_SECRET", f"{KNOWN}\nspark.authenticate false", "KKBC_SPARK_SECRET must have"),
        ("KKBC_SPARK_WORKER_MEMORY", "512m", "KKBC_SPARK_WORKER_MEMORY must be 1024m at least, written like 2048m"),
        ("KKBC_SPARK_THRIFT_MEMORY", "much", "KKBC_SPARK_THRIFT_MEMORY must be"),
    ],
)
def test_settings_that_do_not_do_are_one_line(name: str, value: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "thrift"], env={**GIVEN, name: value}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"spark: {said}")
    assert done.stderr.count("\n") == 1


@contextmanager
def master_page(answer: dict[str, Any]) -> Iterator[int]:
    """A stand-in of the master's page; yields its port."""

    class Page(Handler):
        def do_GET(self) -> None:
            self.answer(200, json.dumps(answer).encode())

    with served(Page) as port:
        yield port


@pytest.mark.parametrize(
    ("part", "changed", "problem"),
    [
        ("master", {}, None),
        ("master", {"status": "RECOVERING"}, "the master is RECOVERING"),
        ("worker", {}, None),
        ("worker", {"workers": [{"host": "10.0.0.1", "state": "DEAD"}]}, "the master does not know a worker at"),
        ("thrift", {}, None),
        ("thrift", {"activeapps": []}, "the master has no session that runs"),
    ],
)
def test_a_part_is_well_when_the_master_says_so(
    part: str, changed: dict[str, Any], problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over an answer like that of Spark 4's master, of which the trial of the containers has the real one."""
    answer = {
        "status": "ALIVE",
        "workers": [{"host": "10.0.0.1", "state": "ALIVE"}],
        "activeapps": [{"state": "RUNNING"}],
    }
    monkeypatch.setattr("socket.gethostbyname", lambda _: "10.0.0.1")
    with master_page(answer | changed) as port:
        places = {"MASTER": "127.0.0.1", "MASTER_PAGE": port, "THRIFT_PORT": port}
        for name, value in places.items():
            monkeypatch.setitem(CODE["unwell"].__globals__, name, value)
        found = CODE["unwell"](part)
    assert (found is None) if problem is None else str(found).startswith(problem)
    refused = CODE["unwell"](part)
    assert refused is not None
    assert refused.startswith(f"{part}: ConnectionRefusedError")
