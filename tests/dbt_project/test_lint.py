"""What `make lint` holds the dbt project to, and that nothing is left out of it unsaid."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kkbc.core.settings import PROJECT_ROOT
from kkbc.marts.runner import DBT_PROJECT

CONFIG = DBT_PROJECT / "dbt-bouncer.yml"


def tool(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of the environment, run in the project's folder."""
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the manifest of the project in `target`."""
    folder = tmp_path_factory.mktemp("lint")
    folders = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    outputs = ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]
    parsed = tool("dbt", "--quiet", "parse", *folders, *outputs, DBT_HOST="none", DBT_USER="none", DBT_DBNAME="none")
    assert parsed.returncode == 0, parsed.stdout
    return folder


def test_everything_scores_ten(parsed: Path) -> None:
    scored = tool("dbt-score", "lint", "--manifest", str(parsed / "target" / "manifest.json"), "--format", "json")
    assert scored.returncode == 0, scored.stdout
    found = json.loads(scored.stdout)
    assert found["project"]["score"] == 10.0
    scores = {name: item["score"] for name, item in found["evaluables"].items()}
    assert set(scores.values()) == {10.0}
    assert sum(1 for name in scores if name.startswith("model.")) == len(list((DBT_PROJECT / "models").rglob("*.sql")))


def test_every_check_that_is_on_passes(parsed: Path) -> None:
    arguments = ["run", "--config-file", str(CONFIG), "--only", "manifest_checks"]
    checked = tool("dbt-bouncer", *arguments, DBT_PROJECT_DIR=str(parsed))
    assert checked.returncode == 0, checked.stdout


def test_every_check_is_on_or_off_with_a_reason() -> None:
    listed = tool("dbt-bouncer", "list", "--output-format", "json")
    checks = [check["name"] for group in json.loads(listed.stdout).values() for check in group]
    known = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in checks}
    text = CONFIG.read_text(encoding="utf-8")
    on = {check["name"] for group, rows in yaml.safe_load(text).items() if group.endswith("_checks") for check in rows}
    off = dict(re.findall(r"^#   (check_\w+): (.+)$", text, flags=re.MULTILINE))
    assert on.isdisjoint(off)
    assert on | off.keys() == known
    assert all(off.values())
