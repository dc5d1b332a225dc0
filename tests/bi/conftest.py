"""A home of played nights with a real Superset beside it, for `make test-bi`.

KKBC_BI_TEST_HOME names a home that is kept, and used again if it was played: the nights take minutes.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kkbc.core.settings import get_settings
from kkbc.nights import RunRequest, plain
from kkbc.upkeep import bi_logins
from kkbc.upkeep.dashboards import users
from kkbc.upkeep.dashboards.api import session
from kkbc.warehouse import server
from kkbc.warehouse.connection import DATABASE
from kkbc_play.simulator import Scale, World
from kkbc_play.stack import superset
from tests.conftest import environment

FIRST = date(2023, 12, 11)
# Until the first cohort has its first month behind it, so that no chart is empty.
NIGHTS = 54
SCALE = Scale(registrations=1200, contributions=2400, opening=6000)
# Of five regional offices, and few enough to be pulled in a minute; the rest is missing, as the marts say.
VISITED = (
    *("KC001", "KC002", "KC005", "KC012", "KC023", "KC030", "KC034", "KC044", "KC045", "KC046"),
    *("KC060", "KC070", "KC080", "KC090", "KC100", "KC110", "KC120"),
)
READERS = {"pusat": None, "kanwil_jawa_barat": "KW06", "cabang_044": ["KC044"]}
NOBODY = "bukan_pembaca"
PASSWORD = secrets.token_urlsafe(12)


@dataclass(frozen=True)
class Played:
    """The home, the warehouse in it, and which branches each reader sees."""

    home: Path
    warehouse: str
    branches: dict[str, list[str]]

    def rows(self, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows of the warehouse as its owner sees them: all, without policies."""
        with psycopg.connect(self.warehouse, row_factory=psycopg.rows.dict_row) as conn:
            return conn.execute(statement, parameters).fetchall()


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Played nights, published, with readers."""
    kept = os.environ.get("KKBC_BI_TEST_HOME")
    home = Path(kept) if kept else tmp_path_factory.mktemp("bi") / "home"
    with environment(KKBC_HOME=str(home), KKBC_DATABASE_URL=""):
        try:
            if not (home / "played").exists():
                _play(home)
                (home / "played").touch()
            running = server.start(home)
            warehouse = running.conninfo(DATABASE)
            yield Played(home, warehouse, _grant(warehouse))
        finally:
            superset.down(get_settings())
            server.stop(home)


def _play(home: Path) -> None:
    world = World(home / "world", seed=11, scale=SCALE, first_date=FIRST, ways="file", truth=False)
    for _ in range(NIGHTS):
        night = world.play_night(lambda *_: None)
    request = RunRequest(
        night.business_date, world.branches_root, first_business_date=FIRST, gate="warn", branch_ids=("HQ", *VISITED)
    )
    plain.run_night(request, lambda *_: None)


def _grant(warehouse: str) -> dict[str, list[str]]:
    found = {}
    with psycopg.connect(warehouse) as conn:
        for reader, which in READERS.items():
            rows = conn.execute(
                "select branch_id from bi.dim_branch where (kanwil_id = %(kanwil)s or branch_id = any(%(listed)s)"
                " or %(all)s) order by 1",
                {
                    "kanwil": which if isinstance(which, str) else None,
                    "listed": which if isinstance(which, list) else [],
                    "all": which is None,
                },
            ).fetchall()
            found[reader] = [branch_id for (branch_id,) in rows]
    for reader, which in READERS.items():
        places = [bi_logins.ALL] if which is None else [which] if isinstance(which, str) else which
        bi_logins.grant(reader, places, who="test")
    return found | {NOBODY: []}


@pytest.fixture(scope="session")
def dashboards(played: Played) -> superset.Superset:
    """Superset, started from nothing, with users of which PASSWORD is the password."""
    started = superset.up()
    with session(started.url, started.password) as api:
        users.synchronise(api, READERS, lambda *_: None)
        there = {user["username"]: user for user in api.all("security/users/")}
        role = next(role["id"] for role in api.all("security/roles/") if role["name"] == users.ROLE)
        if NOBODY not in there:
            made = {"first_name": NOBODY, "last_name": "-", "email": "nobody@kkbc.invalid", "active": True}
            made |= {"username": NOBODY, "password": PASSWORD, "roles": [role]}
            api.call("POST", "security/users/", json=made)
        # A home that is kept has the users of an earlier session, with the password of that one.
        for user in (user for name, user in there.items() if name in (*READERS, NOBODY)):
            api.call("PUT", f"security/users/{user['id']}", json={"password": PASSWORD})
    return started
