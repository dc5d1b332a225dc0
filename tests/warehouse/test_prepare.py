"""A home from nothing: its own server, key and logins."""

import stat
from pathlib import Path

import psycopg
import pytest

from kkbc.nights.prepare import prepare
from kkbc.warehouse import connect, server


def test_an_empty_home_becomes_a_warehouse(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KKBC_DATABASE_URL", raising=False)
    try:
        prepare()
        prepare()
        running = server.find(home)
        assert running is not None
        with connect("loader") as conn:
            assert conn.execute("select count(*) from ops.slice").fetchone() == (0,)
        private = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home / "keys").iterdir()}
        assert private == dict.fromkeys(("pii.key", "marks.key", "suppression.key", "bi.password"), 0o600)
        password = (home / "keys" / "bi.password").read_text().strip()
        login = {"host": "127.0.0.1", "port": running.port, "user": "bi", "dbname": "kkbc"}
        psycopg.connect(**login, password=password).close()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(**login, password="wrong")
    finally:
        server.stop(home)
    assert server.find(home) is None
    assert not (home / "socket").exists()
