"""With a key that is not the warehouse's everybody would be a stranger: every command on persons says so."""

import json
from pathlib import Path

import pytest

from kkbc.core.settings import get_settings
from kkbc.rights import Wanted, erase
from kkbc.rights.persons import persons
from kkbc.upkeep.keys import rotate
from kkbc.warehouse import connect
from tests.rights.conftest import Kkbc
from tests.slices.quarantine.scene import Office

NIK = "1171011203909001"
WHY = ("--why", "request 12")
COMMANDS = (
    ("restrict",),
    ("restrict", "--release"),
    ("subject-report",),
    ("erase", "--dry-run"),
    ("erase", "--verify"),
    ("erase",),
)


@pytest.mark.parametrize("file", ["pii.key", "marks.key"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_wrong_key_is_refused(office: Office, home: Path, kkbc: Kkbc, command: tuple[str, ...], file: str) -> None:
    office.sends({"nik": NIK})
    (home / "keys" / file).write_text("ef" * 32 + "\n")
    done = kkbc(*command, *WHY, stdin=NIK)
    assert done.exit_code != 0, done.output
    assert "is not the one that this warehouse was loaded with" in str(done.exception)
    with connect() as conn:
        assert conn.execute("select count(*) from vault.restricted").fetchone() == (0,)
        assert conn.execute("select count(*) from vault.registrations where nik = %s", [NIK]).fetchone() == (1,)


def test_while_the_connection_still_has_the_old_key_persons_are_found_by_the_next_one(
    office: Office, home: Path, kkbc: Kkbc, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.sends({"nik": NIK})
    keys = home / "keys"
    extra = {name: (keys / f"{name}.key").read_text().strip() for name in ("marks", "suppression")}
    password = (keys / "pii.key").read_text().strip()
    extra["next"] = "12" * 32
    path = keys / "connections.json"
    path.write_text(json.dumps({"token_key": {"conn_type": "generic", "password": password, "extra": extra}}))
    path.chmod(0o600)
    monkeypatch.setenv("KKBC_PII_KEY_CONNECTION", "token_key")
    get_settings.cache_clear()
    rotate(why="a test", who="a tester")
    (person,) = persons([NIK])
    with connect() as conn:
        assert conn.execute("select participant_token from raw.registrations").fetchall() == [(person.token,)]
    told = json.loads(kkbc("erase", "--dry-run", "--json", *WHY, stdin=NIK).stdout)
    assert (told["rows"]["raw.registrations"], told["unknown_lines"]) == (1, [])
    assert erase(Wanted((NIK,), (1,)), why="requested", who="a tester").findings == ()
    with connect() as conn:
        ((left,),) = conn.execute("select participant_token from raw.registrations").fetchall()
    assert left.startswith("00")
