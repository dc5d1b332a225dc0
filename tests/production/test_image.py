"""What the images are built from: every file is there, every package is pinned to a hash and to the tested version."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from kkbc.exchange.registry import load_registry
from kkbc.warehouse import server
from tests.databases import database

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"


def pins(lock: Path) -> dict[str, str]:
    """Version by package (and marker) of a lock file."""
    found = re.findall(r"^([\w.-]+(?:\[[\w,]+\])?)==([^\s;]+)( ; [^\\]+)?", lock.read_text(encoding="utf-8"), re.M)
    return {f"{name}{marker.strip()}": version for name, version, marker in found}


def test_containers_run_the_versions_that_are_tested() -> None:
    project, containers = pins(ROOT / "requirements.lock"), pins(DOCKER / "requirements.lock")
    assert len(project) > 100
    by_name = {(key.split(";")[0], version) for key, version in containers.items()}
    assert {(key.split(";")[0], version) for key, version in project.items()} <= by_name


def test_metrics_need_nothing_of_development() -> None:
    """What `kkbc query` imports is locked for every environment, and what looks for newer versions for none."""
    for lock in (ROOT / "requirements.lock", ROOT / "requirements-dev.lock", DOCKER / "requirements.lock"):
        names = {key.split(";")[0] for key in pins(lock)}
        assert {"metricflow", "dbt-core"} <= names, lock
        assert not {"dbt-metricflow", "update-checker"} & names, lock


def test_every_package_has_a_hash_and_no_line_names_an_index() -> None:
    text = (DOCKER / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


@pytest.mark.parametrize("dockerfile", [ROOT / "Dockerfile", DOCKER / "sftp" / "Dockerfile"], ids=["project", "sftp"])
def test_what_is_copied_exists_and_is_not_ignored(dockerfile: Path) -> None:
    context = dockerfile.parent
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(encoding="utf-8"), re.M)
    copied = [source for line in lines for source in line.split()]
    assert copied
    assert all((context / source).exists() for source in copied)
    if (context / ".dockerignore").exists():
        allowed = {line[1:] for line in (context / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        assert set(copied) <= allowed


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    for name in ("make_env.py", "production.env.example"):
        (tmp_path / name).write_text((DOCKER / name).read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, str(tmp_path / "make_env.py")]
    subprocess.run(command, check=True, capture_output=True)
    made = tmp_path / "production.env"
    lines = [line for line in made.read_text().splitlines() if line and not line.startswith("#")]
    values = [line.partition("=")[2] for line in lines]
    assert made.stat().st_mode & 0o777 == 0o600
    assert all(values)
    assert len(set(values)) == len(values)
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert lines == [line for line in made.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("script", ["migrate.sh", "postgres/init.sh", "sftp/serve.sh"])
def test_shell_scripts_parse(script: str) -> None:
    subprocess.run(["sh", "-n", str(DOCKER / script)], check=True, env={"PATH": os.environ["PATH"]})


def test_all_branches_may_log_in_at_the_sftp_server_at_once() -> None:
    text = (DOCKER / "sftp" / "sshd_config").read_text(encoding="utf-8")
    begin, _, full = re.findall(r"^MaxStartups (\d+):(\d+):(\d+)$", text, re.M)[0]
    assert int(full) > int(begin) > len(load_registry().branches) > 100


@pytest.mark.parametrize(
    ("job", "seconds", "status"),
    [("DagProcessorJob", 5, 0), ("DagProcessorJob", 90, 1), ("TriggererJob", 5, 1)],
    ids=["alive", "late", "of another job"],
)
def test_a_part_of_airflow_is_alive_by_its_heartbeat(pg: server.Server, job: str, seconds: int, status: int) -> None:
    """Over a table like Airflow's, whose names `make test` cannot check: they are those of Airflow 3.3."""
    with database(pg) as name:
        with psycopg.connect(pg.conninfo(name)) as conn:
            conn.execute("create table job (job_type text, state text, hostname text, latest_heartbeat timestamptz)")
            beat = "insert into job values ('DagProcessorJob', 'running', %s, now() - make_interval(secs => %s))"
            conn.execute(beat, [socket.gethostname(), seconds])
        place = f"host={quote(str(pg.socket_dir), safe='')}&port={pg.port}"
        uri = f"postgresql+psycopg://{server.SUPERUSER}@/{name}?{place}"
        environment = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": uri}
        command = [sys.executable, str(DOCKER / "health.py"), job]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
