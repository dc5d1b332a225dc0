"""Tokens and the key that they hang on."""

import errno
import hashlib
import hmac
import stat
from pathlib import Path

import polars as pl
import pytest

from kkbc.core import tokens
from kkbc.core.errors import UserError


def test_a_token_is_the_version_of_its_key_and_120_bits_of_the_keyed_hash(home: Path) -> None:
    path = tokens.ensure_key(home)
    key = tokens.load_key()
    niks = ["3171011203909001", "3171015203909002", "3171011203909001"]
    secret = bytes.fromhex(path.read_text().strip().removeprefix("01:"))
    expected = ["01" + hmac.new(secret, nik.encode(), hashlib.sha256).hexdigest()[2:32] for nik in niks]
    assert tokens.tokens(pl.Series(niks), key).to_list() == expected
    assert expected[0] != expected[1]


def test_the_key_is_made_once_and_for_its_owner_alone(home: Path) -> None:
    path = tokens.ensure_key(home)
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert tokens.ensure_key(home).read_text() == first
    assert (tokens.load_key().version, len(tokens.load_key().secret)) == (1, 32)


def test_marks_and_suppression_have_keys_of_their_own(home: Path) -> None:
    tokens.ensure_key(home)
    keys = [tokens.load_key().secret, tokens.load_marks_key(), *tokens.load_suppression_keys()]
    assert len(set(keys)) == 3
    again = [tokens.load_key().secret, tokens.load_marks_key(), *tokens.load_suppression_keys()]
    tokens.ensure_key(home)
    assert again == keys


def test_a_home_whose_marks_were_made_with_the_key_of_the_tokens_keeps_them(home: Path) -> None:
    tokens.make_secret(home / "keys" / tokens.KEY_FILE, "ab" * 32)
    tokens.ensure_key(home)
    assert tokens.load_marks_key() == tokens.load_key().secret == bytes.fromhex("ab" * 32)
    assert tokens.load_suppression_keys() != (tokens.load_key().secret,)


def test_a_suppression_key_may_have_layers(home: Path) -> None:
    tokens.make_secret(home / "keys" / tokens.SUPPRESSION_FILE, "ab" * 32 + "\n" + "cd" * 32)
    assert tokens.load_suppression_keys() == (bytes.fromhex("ab" * 32), bytes.fromhex("cd" * 32))


def test_a_subject_is_a_keyed_hash_and_no_token(home: Path) -> None:
    tokens.ensure_key(home)
    key = tokens.load_marks_key()
    nik = "3171011203909001"
    expected = hmac.new(key, b"subject " + nik.encode(), hashlib.sha256).hexdigest()[:32]
    assert tokens.subject(nik, key) == expected
    assert tokens.tokens(pl.Series([nik]), tokens.Key(1, key)).to_list() != [expected]


def test_a_key_that_cannot_be_written_is_told_in_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tokens.tempfile, "mkstemp", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device: free disk space there"):
        tokens.ensure_key(home)


def test_another_key_has_another_fingerprint(home: Path) -> None:
    tokens.ensure_key(home)
    key = tokens.load_key().secret
    assert tokens.fingerprint(key) != tokens.fingerprint(bytes(32))
    assert key.hex() not in tokens.fingerprint(key)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0o600, "does not exist"),
        ("ab" * 32, 0o644, "can be read by others"),
        ("not hexadecimal", 0o600, "no hexadecimal text"),
        ("abcd", 0o600, "shorter than 32 bytes"),
        ("00:" + "ab" * 32, 0o600, "no version of 01 to ff"),
        ("1:" + "ab" * 32, 0o600, "no version of 01 to ff"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_with_its_remedy(
    home: Path, content: str | None, mode: int, message: str
) -> None:
    path = home / "keys" / tokens.KEY_FILE
    if content is not None:
        path.parent.mkdir()
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(UserError, match=message) as caught:
        tokens.load_key()
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert content is None or content not in str(caught.value)
