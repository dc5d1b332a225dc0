"""A folder of deliveries, and a visit to it."""

from datetime import date
from pathlib import Path

import pytest

from kkbc.core import tokens
from kkbc.exchange.registry import load_registry
from kkbc.nights.attempt import PullReport
from kkbc.nights.visit import pull
from kkbc.warehouse import connect
from tests.nights.visit.pulling import UNTIL, Pull


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


@pytest.fixture
def pull_kc001(warehouse: str, home: Path, root: Path) -> Pull:
    tokens.ensure_key(home)
    with connect("loader") as conn:
        conn.execute("insert into ops.run (run_id, as_of, mode) values ('r', '2023-12-31', 'plain')")

    def once(branch_id: str = "KC001", until: date = UNTIL) -> PullReport:
        with connect("loader", autocommit=True) as conn:
            return pull(conn, load_registry().get(branch_id), run_id="r", until=until, root=root)

    return once
