"""Environments of what judges the project and is no part of it."""

import subprocess

from kkbc.core.settings import PROJECT_ROOT


def python_of(environment: str) -> str:
    """The interpreter of an environment of its own, which `make` builds where it is not there yet."""
    subprocess.run(["make", "-s", f"{environment}/.ready"], cwd=PROJECT_ROOT, check=True, capture_output=True)
    return str(PROJECT_ROOT / environment / "bin" / "python")
