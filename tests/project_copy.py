"""A copy of the project to add things to, and `kkbc` in it: what a contributor has."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from kkbc.core.settings import PROJECT_ROOT

FOLDERS = ("config", "contracts", "docs", "dbt_project", "expectations", ".ci/sqlfluff")
FILES = (".gitignore", ".sqlfluff")


@dataclass(frozen=True)
class ProjectCopy:
    """A copy of the project under git, with a home and a warehouse of its own, as `environment` says."""

    root: Path
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        """The installation folder."""
        return Path(self.environment["KKBC_HOME"])

    @property
    def branches(self) -> Path:
        """A folder for deliveries, which git does not see."""
        return self.root / ".local"

    def kkbc(self, *arguments: str | Path, status: int = 0) -> str:
        """What a command in the copy says on stdout, or on stderr when it is to end with another status."""
        command = [str(Path(sys.executable).with_name("kkbc")), *map(str, arguments)]
        # Nor Airflow's variables: a test before this one may have named the connections of its own home there.
        outside = {name: text for name, text in os.environ.items() if not name.startswith(("KKBC_", "AIRFLOW_"))}
        environment = {**outside, **self.environment, "KKBC_PROJECT": str(self.root), "COLUMNS": "200"}
        done = subprocess.run(command, env=environment, cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def changed(self) -> list[str]:
        """The files that git sees as new or changed."""
        return sorted(line[3:] for line in _git(self.root, "status", "--porcelain", "-uall").splitlines())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the owner of the warehouse sees."""
        with psycopg.connect(self.environment["KKBC_DATABASE_URL"]) as conn:
            return conn.execute(query.encode()).fetchall()


def copy_project(folder: Path, environment: dict[str, str], offices: Collection[str] | None = None) -> ProjectCopy:
    """A copy of the project in `folder`, committed, whose registry has head office and `offices` (default: all)."""
    for name in FOLDERS:
        shutil.copytree(PROJECT_ROOT / name, folder / name, ignore=shutil.ignore_patterns("target", "logs"))
    for name in FILES:
        shutil.copy(PROJECT_ROOT / name, folder)
    if offices is not None:
        registry = folder / "config" / "branches.yml"
        lines = registry.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if "branch_id: KC" not in line or any(office in line for office in offices)]
        registry.write_text("".join(kept), encoding="utf-8")
    _git(folder, "init", "-q")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-qm", "The project as it is")
    return ProjectCopy(folder, environment)


def _git(folder: Path, *arguments: str) -> str:
    """What git says in a folder, free of the settings of whoever runs the tests."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout
