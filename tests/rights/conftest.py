"""A branch that delivers, and the command line of the rights of persons."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core import tokens
from tests.slices.quarantine.scene import Office

Kkbc = Callable[..., Result]


@pytest.fixture
def office(warehouse: str, home: Path, tmp_path: Path) -> Office:
    """KC001, of a new home with its keys."""
    tokens.ensure_key(home)
    root = tmp_path / "branches"
    root.mkdir()
    return Office(root)


@pytest.fixture
def kkbc() -> Kkbc:
    """The command line, with NIKs on its standard input."""

    def call(*arguments: str, stdin: str = "") -> Result:
        assert not any(nik in argument for argument in (*arguments, *sys.argv) for nik in stdin.split())
        return CliRunner().invoke(app, list(arguments), input=stdin.encode())

    return call
