"""A server whose disk is full ends itself when it cannot write its log (WAL): what a person is told then."""

from pathlib import Path

import psycopg
import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.warehouse import connect
from kkbc.warehouse.connection import as_user_error

FULL = (
    'FATAL:  could not write to file "pg_wal/xlogtemp.1": No space left on device\nLOG:  database system is shut down\n'
)
READY = "LOG:  database system is ready to accept connections\n"


@pytest.mark.parametrize(
    ("log", "of_the_disk"), [(READY + FULL, True), (FULL + READY, False), (READY, False), ("", False)]
)
def test_the_full_disk_is_named_until_the_server_is_ready_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, log: str, of_the_disk: bool
) -> None:
    monkeypatch.delenv("KKBC_DATABASE_URL", raising=False)
    get_settings.cache_clear()
    (home / "pg").mkdir(parents=True)
    (home / "pg" / "server.log").write_text(log)
    with pytest.raises(UserError) as refused:
        connect()
    assert ("its disk is full" in str(refused.value)) == of_the_disk
    assert ("kkbc migrate" in str(refused.value)) == of_the_disk
    broken = as_user_error(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert ("the disk of the warehouse is full" in str(broken)) == ("No space" in log)
