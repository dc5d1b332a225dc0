"""A warehouse with a day of one branch in it, and an empty one to restore into."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest

from kkbc import nights
from kkbc.core import tokens
from kkbc.core.settings import get_settings
from kkbc.nights import RunRequest
from kkbc.warehouse import schema, server
from tests.deliveries import deliver

DAY = date(2023, 12, 11)


@dataclass
class Site:
    """An installation, and where its backups and keys go."""

    home: Path
    database: str
    store: Path
    keys: Path
    branches: Path

    def send(self, *names: str, revision: int = 1, niks: Sequence[str] = ()) -> None:
        """Delivers registrations, the last of them bad, and pulls them."""
        rows = [{"no_pendaftaran": name} for name in names]
        for row, nik in zip(rows, niks, strict=False):
            row["nik"] = nik
        rows[-1]["tgl_lahir"] = "1890-01-01"
        deliver(self.branches, {"pendaftaran": rows}, revision=revision)
        nights.open_run(RunRequest(DAY, self.branches), mode="plain", run_id=f"r{revision}")
        nights.pull_branch(f"r{revision}", "KC001")


@pytest.fixture
def site(warehouse: str, home: Path, tmp_path: Path) -> Site:
    """An installation that one slice was pulled into."""
    tokens.ensure_key(home)
    (tmp_path / "branches").mkdir()
    made = Site(home, warehouse, tmp_path / "store", tmp_path / "safe", tmp_path / "branches")
    made.send("A", "B")
    return made


@pytest.fixture
def elsewhere(pg: server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """Makes an empty home and an empty database the current ones; returns the home."""
    with ExitStack() as made:

        def go(**more: str) -> Path:
            name = f"empty_{uuid4().hex[:8]}"
            schema.create_database(pg, name)
            made.callback(schema.drop_database, pg, name)
            values = {"KKBC_HOME": str(tmp_path / name), "KKBC_DATABASE_URL": pg.conninfo(name), **more}
            for variable, value in values.items():
                monkeypatch.setenv(variable, value)
            get_settings.cache_clear()
            return tmp_path / name

        yield go
    get_settings.cache_clear()
