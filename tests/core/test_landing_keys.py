"""Where the keys of landing come from, and what is said of those that are none."""

import json
from pathlib import Path

import pytest

from kkbc.core import landing_keys
from kkbc.core.encryption import Keyring, WrappingKey
from kkbc.core.errors import BranchRefused, UserError
from kkbc.core.settings import get_settings

FIRST, SECOND = "ab" * 32, "cd" * 32


def ids(*texts: str) -> tuple[str, ...]:
    return tuple(WrappingKey(bytes.fromhex(text)).id for text in texts)


def write(home: Path, text: str, mode: int = 0o600) -> Path:
    path = home / "keys" / "landing.key"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_file_is_made_once_and_is_the_owners_alone(home: Path) -> None:
    landing_keys.ensure()
    path = home / "keys" / "landing.key"
    before = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    landing_keys.ensure()
    assert path.read_text() == before
    assert len(landing_keys.load().keys) == 1


def test_keys_come_and_go_in_the_file(home: Path) -> None:
    write(home, FIRST)
    added = landing_keys.begin_rotation()
    assert landing_keys.load().ids == added.ids
    assert added.ids[1:] == ids(FIRST)
    assert landing_keys.begin_rotation().ids == added.ids  # one has begun
    with pytest.raises(UserError, match="were changed meanwhile: do it again"):
        landing_keys.end_rotation(Keyring(added.keys[:1]))
    assert landing_keys.end_rotation(added).ids == landing_keys.load().ids == added.ids[:1]
    assert (home / "keys" / "landing.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (home / "keys").iterdir()] == ["landing.key"]


def test_variable_before_connection_before_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, f"{FIRST}\n{SECOND}\n{FIRST}\n")
    assert (landing_keys.load().ids, landing_keys.in_file()) == (ids(FIRST, SECOND), True)
    monkeypatch.setenv("KKBC_LANDING_KEY_CONNECTION", "landing_key")
    get_settings.cache_clear()
    with pytest.raises(UserError, match="'landing_key' cannot be read") as caught:
        landing_keys.load()
    assert not isinstance(caught.value, BranchRefused)  # the night cannot go on without it
    connections = home / "keys" / "connections.json"
    connections.write_text(json.dumps({"landing_key": {"conn_type": "generic", "password": f"{SECOND},{FIRST}"}}))
    connections.chmod(0o600)
    assert (landing_keys.load().ids, landing_keys.in_file()) == (ids(SECOND, FIRST), False)
    monkeypatch.setenv("KKBC_LANDING_KEY", FIRST)
    assert (landing_keys.load().ids, landing_keys.in_file()) == (ids(FIRST), False)


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (None, 0, "key file .*landing.key does not exist: restore the key"),
        ("", 0o600, "landing.key holds no key"),
        ("xyz", 0o600, "the key of the key file .* is not 64 hexadecimal digits"),
        ("ab" * 16, 0o600, "is not 64 hexadecimal digits"),
        (f"{FIRST}, {SECOND}ff", 0o600, "key 2 of the key file .* is not 64 hexadecimal digits"),
        (FIRST, 0o644, "can be read by others: chmod 600"),
    ],
)
def test_a_key_that_is_none_is_named_without_its_text(home: Path, text: str | None, mode: int, message: str) -> None:
    if text is not None:
        write(home, text, mode)
    with pytest.raises(UserError, match=message) as caught:
        landing_keys.load()
    assert not text or text not in str(caught.value)
