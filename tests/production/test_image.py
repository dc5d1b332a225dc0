"""What the images are built from: every file is there, every package is pinned to a hash and to the tested version."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", dockerfile.read_text(encoding="utf-8"), re.M)
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
