"""The production shape: valid by the Compose Specification, and each container given what it needs and no more."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = (
    "migrate",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "airflow-worker",
)
SPARK = ("spark-master", "spark-worker", "spark-thrift")


def test_the_file_keeps_to_the_compose_specification() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(COMPOSE, schema)


@pytest.mark.parametrize(
    "name", ["AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "AIRFLOW__CORE__FERNET_KEY"]
)
def test_airflow_containers_agree(name: str) -> None:
    assert len({SERVICES[service]["environment"][name] for service in AIRFLOW}) == 1


def test_the_warehouse_login_and_the_key_are_only_where_tasks_run() -> None:
    logins = {name: service.get("environment", {}).get("KKBC_DATABASE_URL", "") for name, service in SERVICES.items()}
    with_login = {name for name, login in logins.items() if login.startswith("postgresql://kkbc:")}
    with_key = {
        name for name, service in SERVICES.items() if any(str(v).startswith("keys:") for v in service["volumes"])
    }
    assert with_login == with_key == {"migrate", "airflow-worker"}
    others = {name: login.partition("$")[0] for name, login in logins.items() if login and name not in with_login}
    assert others == {"airflow-api-server": "postgresql://kkbc_board:"}


def test_workers_hold_no_login_of_airflows_database() -> None:
    assert not any("SQL_ALCHEMY_CONN" in name for name in SERVICES["airflow-worker"]["environment"])


def test_no_service_is_privileged_and_those_of_the_project_run_as_nobody_special() -> None:
    assert not any(service.get("privileged") for service in SERVICES.values())
    assert all(service["security_opt"] == ["no-new-privileges:true"] for service in SERVICES.values())
    assert {SERVICES[name]["user"] for name in (*AIRFLOW, "docs", *SPARK)} == {"10001:10001"}
    assert all(SERVICES[name]["cap_drop"] == ["ALL"] for name in (*AIRFLOW, "docs", *SPARK))
    assert "USER kkbc" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


# What is no secret and has a default.
PLAIN = {
    *("KKBC_BIND", "KKBC_VERSION", "KKBC_NOTIFY", "KKBC_SITE_URL", "KKBC_METRICS", "KKBC_BACKUP_TO"),
    *("KKBC_WORKER_MEMORY", "KKBC_POSTGRES_MEMORY", "KKBC_WORKER_IMAGE", "KKBC_ENGINE"),
    *("KKBC_SPARK_WORKERS", "KKBC_SPARK_WORKER_CORES", "KKBC_SPARK_WORKER_MEMORY", "KKBC_SPARK_THRIFT_MEMORY"),
    *("KKBC_LANDING_ENCRYPTION", "KKBC_LANDING_KEY_CONNECTION", "KKBC_REPORT_PAGES", "KKBC_ATTACH_REPORT"),
    "KKBC_PULL_GROUPS",
}
OF_A_PROFILE = "KKBC_SPARK_SECRET"
"""A file of before the profile lacks it and must go on working: it is empty then, and what needs it says so."""


def test_every_lasting_service_is_watched_and_started_again() -> None:
    lasting = {name: service for name, service in SERVICES.items() if name != "migrate"}
    assert {service["restart"] for service in lasting.values()} == {"unless-stopped"}
    assert all("healthcheck" in service for service in lasting.values())


def test_every_service_is_limited_and_its_log_rotated() -> None:
    for name, service in SERVICES.items():
        assert re.search(r"\d[mg]\}?$", service["mem_limit"]), name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["driver"] == "json-file", name
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name


def test_every_service_ends_by_itself_when_it_is_stopped() -> None:
    """The signal reaches the program, and there is time for what it has under way."""
    for name, service in SERVICES.items():
        assert service["init"] is True, name
        assert re.fullmatch(r"\d+[sm]", service["stop_grace_period"]), name
        assert isinstance(service.get("command", []), list), name
        command = service.get("command", [])
        assert command[:2] != ["sh", "-c"] or command[2].startswith("exec "), name
    assert SERVICES["postgres"]["stop_signal"] == "SIGINT"
    scripts = (ROOT / "docker" / "sftp" / "serve.sh", ROOT / "bi" / "superset" / "start.sh")
    assert all(script.read_text(encoding="utf-8").splitlines()[-1].startswith("exec ") for script in scripts)


def test_no_secret_has_a_default() -> None:
    defaults = set(re.findall(r"\$\{([A-Z_]+):?-", TEXT))
    assert defaults <= PLAIN | {OF_A_PROFILE}
    assert set(re.findall(rf"\$\{{{OF_A_PROFILE}.*?\}}", TEXT)) == {f"${{{OF_A_PROFILE}:-}}"}
    words = re.compile(r"PASSWORD|SECRET|_KEY$|FERNET|TOKEN")
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if words.search(variable) and "CONNECTION" not in variable:
                assert str(value).startswith("${"), f"{name}: {variable}"


def test_ports_listen_where_kkbc_bind_says() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("${KKBC_BIND:-127.0.0.1}:") for port in ports)


def test_every_secret_stands_in_the_example_without_a_value() -> None:
    wanted = set(re.findall(r"\$\{([A-Z_]+)", TEXT)) - PLAIN
    lines = (ROOT / "docker" / "production.env.example").read_text(encoding="utf-8").splitlines()
    empty = {line[:-1] for line in lines if line.endswith("=") and not line.startswith("#")}
    assert empty == wanted


def test_every_secret_is_asked_for_with_a_remedy() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+):\?see docker/production.env.example\}", TEXT))
    assert asked == set(re.findall(r"\$\{([A-Z_]+)", TEXT)) - PLAIN - {OF_A_PROFILE}


def test_mounted_files_exist() -> None:
    sources = [str(v).split(":")[0] for service in SERVICES.values() for v in service["volumes"]]
    assert all((ROOT / source).exists() for source in sources if source.startswith("./"))


def test_volumes_below_the_home_are_made_in_the_image_for_its_user() -> None:
    """A new volume takes owner and mode of the folder in the image, and belongs to root where there is none."""
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    made = {
        path
        for line in re.findall(r"install -d (.*?)(?: \\)?$", image, re.M)
        for path in line.split()
        if path[0] == "/"
    }
    mounted = {
        str(volume).split(":")[1]
        for name in (*AIRFLOW, "docs", *SPARK)
        for volume in SERVICES[name]["volumes"]
        if not str(volume).startswith(("branches:", "./"))
    }
    assert mounted <= made


def test_what_the_site_is_made_of_is_where_it_is_written_and_served() -> None:
    """`kkbc docs` in a worker reads the audits of all workers, and writes the folder that the service `docs` serves."""
    worker = {str(volume) for volume in SERVICES["airflow-worker"]["volumes"]}
    assert {"documents:/var/lib/kkbc/docs", "audits:/var/lib/kkbc/gx"} <= worker
    docs = SERVICES["docs"]
    assert docs["volumes"] == ["documents:/var/lib/kkbc/docs:ro"]
    assert docs["command"][docs["command"].index("--directory") + 1] == "/var/lib/kkbc/docs"
    assert docs["ports"] == [f"${{KKBC_BIND:-127.0.0.1}}:{docs['command'][3]}:{docs['command'][3]}"]


def test_superset_finds_what_the_migration_writes_for_it() -> None:
    superset = SERVICES["superset"]["environment"]
    wanted = {superset["KKBC_BI_GATEWAY_KEY_FILE"], superset["KKBC_BI_TICKETS"]}
    start = (ROOT / "bi" / "superset" / "start.sh").read_text(encoding="utf-8")
    wanted |= set(re.findall(r"/var/lib/kkbc/bi/\S+", start))
    script = (ROOT / "docker" / "migrate.sh").read_text(encoding="utf-8")
    copied = re.findall(r"^cp (\S+) (\S+)$", script, re.M)
    assert all((ROOT / source).is_file() for source, _ in copied)
    written = {f"{folder}{Path(source).name}" for source, folder in copied}
    assert wanted <= written | set(re.findall(r"/var/lib/kkbc/bi/[\w.]+", script))
    assert {name for name in superset if name.startswith("KKBC_BI")} == set(
        re.findall(r"KKBC_BI\w+", (ROOT / "bi/superset/superset_config.py").read_text(encoding="utf-8") + start)
    )


def test_a_killed_workers_tasks_come_back_and_none_is_run_twice() -> None:
    """Redis waits longer than any task may take, and a task waits in the queue only when there is no worker."""
    shared = SERVICES["airflow-scheduler"]["environment"]
    longest = max(
        int(minutes) * 60
        for dag in (ROOT / "dags").glob("*.py")
        for minutes in re.findall(r'"execution_timeout": timedelta\(minutes=(\d+)\)', dag.read_text(encoding="utf-8"))
    )
    assert longest == 55 * 60
    timeout = float(shared["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"])
    assert int(shared["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]) > longest + timeout
    # An hour without a worker fails nothing.
    assert int(shared["AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES"]) * timeout >= 3600
    worker = SERVICES["airflow-worker"]["environment"]
    slots = int(worker["AIRFLOW__CELERY__WORKER_CONCURRENCY"])
    assert slots >= int(worker["AIRFLOW__CORE__PARALLELISM"])
