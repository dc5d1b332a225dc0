"""Homes of their own for the fault tests, and what an undisturbed run makes of the same deliveries."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kkbc.warehouse import schema, server

from .stage import Home, Victims, make_deliveries, with_times

_numbers = count(1)
NewHome = Callable[..., Home]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longer half is left out unless -m asks for it."""
    if "faults" in config.option.markexpr:
        return
    longer = [item for item in items if item.get_closest_marker("faults")]
    if longer:
        config.hook.pytest_deselected(items=longer)
        items[:] = [item for item in items if item not in longer]


@pytest.fixture(scope="session")
def victims() -> Iterator[Victims]:
    """For what comes before the build."""
    served = Victims("kkbc.night", "kkbc.pulling")
    yield served
    served.close()


@pytest.fixture(scope="session")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the branches deliver to. However often they are visited, nothing in it changes."""
    root = tmp_path_factory.mktemp("branches")
    make_deliveries(root)
    before = with_times(root)
    yield root
    assert with_times(root) == before, "files of a branch were touched"


@pytest.fixture
def new_home(pg: server.Server, tmp_path: Path, deliveries: Path) -> Iterator[NewHome]:
    """Makes an installation with an empty warehouse."""
    made = []

    def make(folder: Path | None = None, **more: str) -> Home:
        name = f"fault{next(_numbers)}"
        made.append(name)
        schema.create_database(pg, name, template="template_kkbc")
        return Home(folder or tmp_path / name, pg.conninfo(name), deliveries, more)

    yield make
    for name in made:
        schema.drop_database(pg, name)


@pytest.fixture
def home(new_home: NewHome) -> Home:
    """One installation."""
    return new_home()


@pytest.fixture(scope="session")
def undisturbed(
    pg: server.Server, victims: Victims, deliveries: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What pulls leave behind that nothing disturbs."""
    schema.create_database(pg, "undisturbed", template="template_kkbc")
    quiet = Home(tmp_path_factory.mktemp("undisturbed") / "home", pg.conninfo("undisturbed"), deliveries)
    assert victims.run(quiet, "pull", *quiet.pull_arguments()) == 0, quiet.log.read_text()
    yield quiet.pulled()
    schema.drop_database(pg, "undisturbed")
