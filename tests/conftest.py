"""One embedded server and one migrated template database for the whole session; each test that asks gets a copy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from kkbc.core.settings import get_settings
from kkbc.warehouse import migrate, schema, server
from tests.databases import TEMPLATE, database

# Folders with the longest files. Two workers end together when these are handed out first.
LONGEST_FIRST = ("e2e", "play", "dbt_project", "upkeep", "faults")
# What `make test-fast` leaves out: dbt builds, Great Expectations, a real Airflow, servers of branches, whole nights.
SLOW = (
    *("e2e", "play", "dbt_project", "faults", "gate", "docs", "marts", "upkeep/scaffold", "intake/sources"),
    *("publishing/test_changes.py", "publishing/test_concurrency.py", "slices/quarantine/test_running.py"),
)

# What `make test-long` runs, and `make test` leaves out: whole nights, kills at every step, a new mart built, audits of
# the locked packages.
LONG = ("e2e", "faults", "upkeep/scaffold/test_new_mart.py", "production/test_audit.py")

# What `make test-rights` runs, and the other two leave out: kills at every step of erasures, changes of keys, backups
# and encryption, and whole nights around them. What each of these comes to without a kill is in `make test`.
RIGHTS = (
    *(f"faults/test_{name}.py" for name in ("killed_erasures", "killed_backups", "killed_encryption", "rotations")),
    *(
        "faults/test_rotations_under_readers.py",
        "e2e/test_backup.py",
        "e2e/test_rights.py",
        "e2e/test_encrypted_night.py",
        "rights/test_nights.py",
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks slow tests, and brings those of the longest folders to the front.

    A file goes to one worker whole, for its tests share fixtures.
    """
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here).as_posix()
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if place.startswith(RIGHTS):
            item.add_marker(pytest.mark.rights)
        elif place.startswith(LONG):
            item.add_marker(pytest.mark.long)
    items.sort(key=lambda item: places.get(item.path.relative_to(here).parts[0], len(places)))


# The gate tries the same examples every time; HYPOTHESIS_PROFILE=random tries others (`make test-random`).
# No test asserts how long something takes, on whatever machine.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.register_profile("random", print_blob=True, deadline=None)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(autouse=True)
def _usual_umask() -> None:
    """The command line makes its process private: what one test's command set is not what the next one starts with."""
    os.umask(0o022)


@pytest.fixture(scope="session", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What homes may share is made once for all homes and workers, above all the parsed dbt project."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["KKBC_CACHE_FOLDER"] = str(shared / "cache")
    get_settings.cache_clear()


UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "'64MB'"}


@pytest.fixture(scope="session")
def pg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """The session's server, with the database `template_kkbc` migrated and roles made."""
    home = tmp_path_factory.mktemp("server")
    running = server.start(home, configuration=UNSAFE_BUT_FAST)
    try:
        schema.create_database(running, TEMPLATE)
        with environment(KKBC_DATABASE_URL=running.conninfo(TEMPLATE), KKBC_HOME=str(home)):
            migrate()
        yield running
    finally:
        server.stop(home)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty installation folder, made the current one."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("KKBC_HOME", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def warehouse(pg: server.Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A migrated, empty warehouse, made the current one; yields its connection string."""
    with database(pg) as name:
        monkeypatch.setenv("KKBC_DATABASE_URL", pg.conninfo(name))
        get_settings.cache_clear()
        yield pg.conninfo(name)
        get_settings.cache_clear()


class environment:
    """Environment variables for the length of a block, with the settings read again."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.before: dict[str, str | None] = {}

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.values}
        os.environ.update(self.values)
        get_settings.cache_clear()

    def __exit__(self, *_: object) -> None:
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        get_settings.cache_clear()
