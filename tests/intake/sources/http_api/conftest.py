"""A real server that answers by the page, or misbehaves, and a source that asks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.core.connections import Connection
from kkbc.intake.sources.http import HttpSource
from tests.intake.sources.branch_api import TOKEN, BranchApi, serving
from tests.intake.sources.http_api.calls import QUICK
from tests.intake.sources.pulled import (
    KC001,
)


@pytest.fixture
def api() -> Iterator[BranchApi]:
    with serving(BranchApi()) as server:
        yield server


@pytest.fixture
def source(api: BranchApi) -> Iterator[HttpSource]:
    opened = HttpSource(KC001, Connection("api", host=api.address, password=TOKEN), QUICK)
    yield opened
    opened.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sent"
