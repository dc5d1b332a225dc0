"""A real Airflow, started once for all tests that need one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kkbc.core.settings import get_settings
from kkbc.exchange.registry import load_registry
from kkbc_play.stack import down, up

# Four branches are enough to see how things hang together, and a night of them takes seconds.
# Its first answer can take long where many tests share the processor.
ANSWERS_IN = 60
REGISTRY = "branches:\n" + "".join(
    f"  - {{branch_id: {name}}}\n" for name in ("HQ", "KC001", "KC002", "KC030", "KC061")
)


@contextmanager
def at(home: Path) -> Iterator[Path]:
    """`home` is the current one for the length of the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KKBC_HOME", str(home))
        patch.setenv("KKBC_REGISTRY", str(home / "branches.yml"))
        # A backfill follows the schedule, and this one has no moment in years.
        patch.setenv("KKBC_PULL_SCHEDULE", "35 0-2 29 2 *")
        get_settings.cache_clear()
        load_registry.cache_clear()
        yield home
    get_settings.cache_clear()
    load_registry.cache_clear()


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that is up."""
    home = tmp_path_factory.mktemp("airflow") / "home"
    home.mkdir()
    (home / "branches.yml").write_text(REGISTRY)
    with at(home):
        before = os.umask(0o022)
        try:
            up()
        finally:
            os.umask(before)
    yield home
    with at(home):
        down()
