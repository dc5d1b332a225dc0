"""Homes of their own for the fault tests, and what an undisturbed run makes of the same deliveries."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kkbc.core.settings import get_settings
from kkbc.exchange.registry import load_registry
from kkbc.warehouse import schema, server
from tests.databases import database

from .stage import DAYS, Home, Victims, make_deliveries, small_disk, with_times

_disks = count(1)

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
    served = Victims("kkbc.nights.branch", "kkbc.nights.run")
    yield served
    served.close()


@pytest.fixture(scope="session")
def night_victims() -> Iterator[Victims]:
    """For whole nights, with all that builds and audits them."""
    served = Victims("kkbc.nights.plain", "kkbc.gate.audit", "dbt.cli.main", "great_expectations")
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
def here(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """An installation that this process works in, instead of victims."""
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    load_registry.cache_clear()
    yield home
    get_settings.cache_clear()
    load_registry.cache_clear()


@contextmanager
def homes(pg: server.Server, folder: Path, deliveries: Path) -> Iterator[NewHome]:
    """Makes installations with an empty warehouse each."""
    with ExitStack() as made:

        def make(place: Path | None = None, **more: str) -> Home:
            name = made.enter_context(database(pg))
            return Home(place or folder / name, pg.conninfo(name), deliveries, more)

        yield make


@pytest.fixture
def new_home(pg: server.Server, tmp_path: Path, deliveries: Path) -> Iterator[NewHome]:
    """Makes installations for one test."""
    with homes(pg, tmp_path, deliveries) as make:
        yield make


@pytest.fixture(scope="module")
def shared_home(pg: server.Server, tmp_path_factory: pytest.TempPathFactory, deliveries: Path) -> Iterator[Home]:
    """One installation for all tests of a module."""
    with homes(pg, tmp_path_factory.mktemp("shared"), deliveries) as make:
        yield make()


@pytest.fixture
def home(new_home: NewHome) -> Home:
    """One installation."""
    return new_home()


@pytest.fixture(scope="session")
def undisturbed(
    pg: server.Server, victims: Victims, deliveries: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What pulls leave behind that nothing disturbs."""
    with homes(pg, tmp_path_factory.mktemp("undisturbed"), deliveries) as make:
        quiet = make()
        assert victims.run(quiet, "pull", *quiet.pull_arguments()) == 0, quiet.log.read_text()
        yield quiet.pulled()


@pytest.fixture(scope="session")
def undisturbed_night(
    pg: server.Server, night_victims: Victims, deliveries: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What BI sees after a night that nothing disturbs."""
    with homes(pg, tmp_path_factory.mktemp("undisturbed"), deliveries) as make:
        quiet = make()
        publish(night_victims, quiet, DAYS[1])
        return quiet.published()


def publish(night_victims: Victims, home: Home, day: date) -> None:
    """Pulls, builds and publishes up to `day`."""
    for call, arguments in (("pull", home.pull_arguments(day=day, run_id=str(day))), ("build", (str(day),))):
        assert night_victims.run(home, call, *arguments) == 0, home.log.read_text()


@pytest.fixture
def home_with_small_warehouse(pg: server.Server, tmp_path: Path, deliveries: Path) -> Iterator[tuple[Home, Path]]:
    """A home whose warehouse lies on a disk of its own, and that disk."""
    name = f"small{next(_disks)}"
    with small_disk(pg.data.parent / name, 64) as path:
        folder = path / "tablespace"
        folder.mkdir()
        owner = pg.data.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        with psycopg.connect(pg.conninfo(), autocommit=True) as conn:
            conn.execute(sql.SQL("create tablespace {} location {}").format(sql.Identifier(name), str(folder)))
            statement = "create database {0} template template_kkbc tablespace {0}"
            conn.execute(sql.SQL(statement).format(sql.Identifier(name)))  # type: ignore[arg-type]
        try:
            yield Home(tmp_path / name, pg.conninfo(name), deliveries), path
        finally:
            schema.drop_database(pg, name)
            with psycopg.connect(pg.conninfo(), autocommit=True) as conn:
                conn.execute(sql.SQL("drop tablespace {}").format(sql.Identifier(name)))
