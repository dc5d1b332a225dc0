"""A copy of the project to add things to, and `kkbc` in it: what a contributor has."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kkbc.core.settings import PROJECT_ROOT

PARTS = ("dbt_project", "expectations", "config", "contracts")


@dataclass(frozen=True)
class Project:
    """A copy of the project under git, with a home and a warehouse of its own."""

    root: Path
    environment: dict[str, str]

    def kkbc(self, *arguments: str | Path, status: int = 0) -> str:
        """What a command in the copy says on stdout, or on stderr when it is to end with another status."""
        command = [str(Path(sys.executable).with_name("kkbc")), *map(str, arguments)]
        environment = {**os.environ, **self.environment, "KKBC_PROJECT": str(self.root), "COLUMNS": "200"}
        done = subprocess.run(command, env=environment, cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def changed(self) -> list[str]:
        """The files that git sees as new or changed."""
        return sorted(line[3:] for line in git(self.root, "status", "--porcelain", "-uall").splitlines())


def git(folder: Path, *arguments: str) -> str:
    """What git says in a folder, free of the settings of whoever runs the tests."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


def copy_project(folder: Path, environment: dict[str, str], offices: tuple[str, ...]) -> Project:
    """A copy of the project in `folder`, committed, whose registry has head office and `offices` alone."""
    for part in PARTS:
        shutil.copytree(PROJECT_ROOT / part, folder / part, ignore=shutil.ignore_patterns("target", "logs"))
    for name in (".gitignore", ".sqlfluff"):
        shutil.copy(PROJECT_ROOT / name, folder)
    shutil.copytree(PROJECT_ROOT / ".ci" / "sqlfluff", folder / ".ci" / "sqlfluff")
    registry = folder / "config" / "branches.yml"
    lines = registry.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if "branch_id: KC" not in line or any(office in line for office in offices)]
    registry.write_text("".join(kept), encoding="utf-8")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "The project as it is")
    return Project(folder, environment)
