"""What `make lint` says of secrets, by planted ones."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from kkbc.core.settings import PROJECT_ROOT
from tests.production.environments import python_of

CODE = PROJECT_ROOT / "supply_chain"
# Put together here, or this file would be a finding itself.
AWS_KEY = "AKIA" + "Q3EGR7XMVZ2LT4KD"
RANDOM = base64.b64encode(bytes(range(7, 255, 7))).decode()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with an image and a home, in which there is no secret."""
    for name, text in {
        "Dockerfile": "FROM debian AS first\nCOPY config /opt/config\nCOPY --from=first /opt /opt\n",
        ".gitignore": "*.tmp\n.local/\n.lint/\n",
        "config/settings.yml": "gate: fail\n",
        ".local/keys/pii.key": "ab12" * 16,
        ".local/airflow/logs/task.log": "nothing to see\n",
        "docker/production.env": f"AIRFLOW_JWT_SECRET={RANDOM}\n",
        "supply_chain/secrets.baseline": json.dumps({"version": "1.5.0", "plugins_used": [], "results": {}}),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def search(project: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit status and lines of a search for secrets."""
    environment = {**os.environ, "KKBC_PROJECT": str(project), "KKBC_HOME": str(project / ".local")}
    command = [python_of(".venv-lint"), str(CODE / "scan_secrets.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    assert AWS_KEY not in done.stdout
    assert RANDOM not in done.stdout
    return done.returncode, done.stdout.splitlines()


def test_a_project_without_secrets_passes(project: Path) -> None:
    assert search(project) == (0, ["secrets: none in 3 files and 1 logs"])


@pytest.mark.parametrize(
    ("place", "text", "kind"),
    [
        ("dags/new.py", f'KEY = "{AWS_KEY}"\n', "AWS Access Key"),
        ("config/branches.yml", "password: rahasia99sekali\n", "Secret Keyword"),
        ("dags/entropy.py", f'X = "{RANDOM}"\n', "Base64 High Entropy String"),
        # Of no concern to git, and copied into the image all the same.
        ("config/left.tmp", "-----BEGIN " + "RSA PRIVATE KEY-----\n", "Private Key"),
        (".local/airflow/logs/other.log", "to http://u:pa55word" + "@api.example/\n", "Basic Auth Credentials"),
    ],
)
def test_a_planted_secret_fails_and_is_not_printed(project: Path, place: str, text: str, kind: str) -> None:
    assert search(project)[0] == 0
    (project / place).parent.mkdir(exist_ok=True)
    (project / place).write_text(text)
    status, lines = search(project)
    assert status == 1
    assert lines[0] == f"{place if 'logs' not in place else project / place}:1: {kind}"


@pytest.mark.parametrize(("secret", "keeper"), [("ab12" * 16, "pii.key"), (RANDOM, "production.env")])
def test_a_secret_of_the_home_is_found_wherever_it_is_written(project: Path, secret: str, keeper: str) -> None:
    log = project / ".local" / "airflow" / "logs" / "task.log"
    log.write_text(f"key={secret}\n")
    status, lines = search(project)
    assert status == 1
    assert f"{log}: holds a secret that is kept in {keeper}" in lines


def test_of_a_connection_what_is_secret_is_searched_for(project: Path) -> None:
    """Names and addresses are in code and docs, and in those of a home that was played."""
    secret = f"{RANDOM[:24]}abc"
    extra = {"endpoint_url": "https://store.example", "host_key": "h" * 30, "aws_secret_access_key": f"{secret}d"}
    connection = {"conn_type": "aws", "host": "store.example", "login": "l" * 20, "password": secret, "extra": extra}
    keys = project / ".local" / "keys"
    (keys / "connections.json").write_text(json.dumps({"sim_s3_kc017_of_a_branch": connection}))
    (keys / "superset.json").write_text(json.dumps({"gateway_password": f"{secret}e"}))
    log = project / ".local" / "airflow" / "logs" / "task.log"
    log.write_text(
        f"sim_s3_kc017_of_a_branch endpoint_url gateway_password https://store.example {'l' * 20} {'h' * 30}\n"
    )
    assert search(project)[0] == 0
    for value, keeper in ((secret, "connections"), (f"{secret}d", "connections"), (f"{secret}e", "superset")):
        log.write_text(f"{value}\n")
        assert f"{log}: holds a secret that is kept in {keeper}.json" in search(project)[1]


def test_what_was_reviewed_passes_until_it_changes_or_goes(project: Path) -> None:
    found = project / "config" / "branches.yml"
    found.write_text("password: rahasia99sekali\n")
    assert search(project, "--to-baseline")[0] == 0
    assert "is not reviewed" in search(project)[1][0]
    baseline = project / "supply_chain" / "secrets.baseline"
    content = json.loads(baseline.read_text())
    content["results"]["config/branches.yml"][0]["is_secret"] = False
    baseline.write_text(json.dumps(content))
    assert search(project)[0] == 0
    found.write_text("\n\npassword: rahasia99sekali\n")
    assert search(project)[0] == 0
    found.write_text("password: an0ther00one\n")
    assert search(project)[0] == 1
    found.write_text("nothing: there\n")
    assert "names a finding that is gone" in search(project)[1][0]
