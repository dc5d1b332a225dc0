"""Keys, and what is made with them: a keyed hash stands for the NIK everywhere but in landing and the vault.

There are three, so that each can be changed or destroyed alone: that of the participant tokens; that of marks and
subjects (what stands for a text or a person where neither may be read); and that of the suppression list, which
outlives the tokens of the persons on it.

The key of the tokens has a version, which each of its tokens begins with. While it is changed the next one lies beside
it; which of the two holds is what the warehouse knows (kkbc.warehouse.kept).
"""

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kkbc.core.connections import Connection, get_connection
from kkbc.core.disk import FULL
from kkbc.core.errors import BranchRefused, UserError
from kkbc.core.files import read_private
from kkbc.core.settings import get_settings

KEY_FILE = "pii.key"
MARKS_FILE = "marks.key"
SUPPRESSION_FILE = "suppression.key"
KEY_BYTES = 32
_BLOCK_BYTES = 64  # of SHA-256
TOKEN_HEX_DIGITS = 32  # two of the version, then 120 bits: no collision to fear among a billion persons
CUT = "00"
"""What a token begins with that no key gives: the way back to its person was cut."""
LAST_VERSION = 0xFF


@dataclass(frozen=True)
class Key:
    """A key of the participant tokens, and its version, 1 to 255, which is the first two digits of each token."""

    version: int
    secret: bytes = field(repr=False)

    @property
    def prefix(self) -> str:
        """What its tokens begin with."""
        return f"{self.version:02x}"

    @property
    def fingerprint(self) -> str:
        """A value that tells it from other keys, and gives nothing away."""
        return fingerprint(self.secret)

    @property
    def text(self) -> str:
        """As its file, or the connection, holds it: the version, a colon, the key in hexadecimal."""
        return f"{self.prefix}:{self.secret.hex()}"

    @classmethod
    def following(cls, version: int) -> "Key":
        """A new random key of the version after `version`; 1 comes after 255."""
        return cls(version % LAST_VERSION + 1, secrets.token_bytes(KEY_BYTES))


def next_of(file: str) -> str:
    """The name of the file in which the next key lies until it takes the place of the one in `file`."""
    return file.replace(".key", ".next.key")


def ensure_key(home: Path) -> Path:
    """Makes the key files of an installation at its first start, mode 0600; returns the path of that of the tokens.

    An existing key is never replaced: tokens made with another key would not match those in the warehouse. A home of
    a version that made its marks with the key of the tokens keeps doing so.
    """
    folder = home / "keys"
    marks = folder / MARKS_FILE
    if (folder / KEY_FILE).exists() and not marks.exists():
        make_secret(marks, _from_file(folder / KEY_FILE))
    for name in (MARKS_FILE, SUPPRESSION_FILE):
        make_secret(folder / name, secrets.token_hex(KEY_BYTES))
    return make_secret(folder / KEY_FILE, Key.following(0).text)


def make_secret(path: Path, text: str) -> Path:
    """Writes `text` to a new file that only its owner may read, in a folder likewise; leaves an existing one alone.

    The file is there with its text or not at all: an empty one would never be filled. Raises UserError when it cannot
    be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _write_secret(path, text)
    except OSError as error:
        remedy = "free disk space there" if error.errno in FULL else "run as the owner of the home"
        raise UserError(f"{path} cannot be written: {error.strerror}", remedy) from error
    return path


def _write_secret(path: Path, text: str) -> None:
    descriptor, written = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
        with suppress(FileExistsError):
            os.link(written, path)
    finally:
        Path(written).unlink()


def load_key() -> Key:
    """The key of the tokens: of the Airflow connection that the settings name, else of the key file.

    Raises UserError when there is none, it is too short, or other users may read its file. While keys are changed the
    warehouse may go by the next one: kkbc.warehouse.kept.token_key tells which holds.
    """
    return read_key(*_text(KEY_FILE, None))


def load_next_key() -> Key | None:
    """The key that is to follow: `next` in the extra of that connection, else of keys/pii.next.key; None without one.

    Raises UserError as load_key does, for one that is there and cannot be used.
    """
    return read_key(*found) if (found := _text_of_next(KEY_FILE, "next")) else None


def load_marks_key() -> bytes:
    """The key of marks and subjects: `marks` in the extra of that connection, else of its file.

    Where the connection has none it is the key of the tokens. Raises UserError as load_key does.
    """
    text, place = _text(MARKS_FILE, "marks")
    return _keys(text.partition(":")[2] or text, place)[0]


def load_suppression_keys() -> tuple[bytes, ...]:
    """The keys of the suppression list, one a line or with blanks between them, in the order in which they are used.

    They are `suppression` in the extra of that connection, else in their file. Raises UserError as load_key does.
    """
    return _keys(*_text(SUPPRESSION_FILE, "suppression"))


def load_next_suppression_keys() -> tuple[bytes, ...] | None:
    """Those that are to follow: `suppression_next` in that extra, else of keys/suppression.next.key; None without."""
    return _keys(*found) if (found := _text_of_next(SUPPRESSION_FILE, "suppression_next")) else None


def has_marks_key(*, own: bool = False) -> bool:
    """Whether there is a key of marks: an installation of an earlier version gets its own at its next start.

    own: not that of the tokens, which stands in where the connection has none.
    """
    settings = get_settings()
    if conn_id := settings.pii_key_connection:
        return not own or bool(_connection(conn_id).extra.get("marks"))
    return (settings.keys / MARKS_FILE).exists()


def has_suppression_keys() -> bool:
    """Whether there are keys of the suppression list, likewise."""
    settings = get_settings()
    if conn_id := settings.pii_key_connection:
        return bool(_connection(conn_id).extra.get("suppression"))
    return (settings.keys / SUPPRESSION_FILE).exists()


def _text(file: str, extra: str | None) -> tuple[str, str]:
    """What a key's place holds, and that place in words."""
    settings = get_settings()
    if settings.pii_key_connection:
        place = f"Airflow connection {settings.pii_key_connection!r}"
        return _from_connection(settings.pii_key_connection, extra), place
    return _from_file(settings.keys / file), str(settings.keys / file)


def _text_of_next(file: str, extra: str) -> tuple[str, str] | None:
    settings = get_settings()
    if conn_id := settings.pii_key_connection:
        text = str(_connection(conn_id).extra.get(extra) or "")
        return (text, f"{extra} of Airflow connection {conn_id!r}") if text else None
    path = settings.keys / next_of(file)
    return (_from_file(path), str(path)) if path.exists() else None


def read_key(text: str, place: str) -> Key:
    """The key in a text, with its version; one without is of version 1. Raises UserError, naming `place`."""
    version, colon, key = text.rpartition(":")
    if colon and (not re.fullmatch("[0-9a-f]{2}", version) or version == CUT):
        raise UserError(f"the key in {place} has no version of 01 to ff", "restore the key that the warehouse knows")
    return Key(int(version or "1", 16), _keys(key, place)[0])


def _keys(text: str, place: str) -> tuple[bytes, ...]:
    try:
        keys = tuple(bytes.fromhex(part) for part in text.split())
    except ValueError as error:
        raise UserError(
            f"the key in {place} is no hexadecimal text", "restore the key that the warehouse knows"
        ) from error
    if not keys or min(map(len, keys)) < KEY_BYTES:
        raise UserError(f"the key in {place} is shorter than {KEY_BYTES} bytes", "restore the right one")
    return keys


def _from_file(path: Path) -> str:
    restore = "restore it from your backup; `make up` makes one for a new home"
    return read_private(path, "the key file", missing=restore).decode("utf-8", "replace").strip()


def subject(nik: str, key: bytes) -> str:
    """What stands for a person in the record of accesses: 32 hex digits of HMAC-SHA256 under the key of marks.

    It stays the same when the key of the tokens is changed, and is no token.
    """
    return hmac.new(key, b"subject " + nik.encode(), hashlib.sha256).hexdigest()[:TOKEN_HEX_DIGITS]


def fingerprint(key: bytes) -> str:
    """A value that tells keys apart and gives nothing away, kept in the warehouse to notice a wrong key."""
    return hmac.new(key, b"kkbc key fingerprint", hashlib.sha256).hexdigest()[:16]


def tokens(niks: pl.Series, key: Key) -> pl.Series:
    """The participant tokens of `niks` (String, 16 digits): the key's version and 30 hex digits of HMAC-SHA256."""
    made = keyed_hashes(niks, key.secret).to_list()
    return pl.Series("participant_token", [key.prefix + text[len(key.prefix) :] for text in made], dtype=pl.String)


def keyed_hashes(texts: pl.Series, key: bytes) -> pl.Series:
    """Of each text 32 hex digits of HMAC-SHA256 under `key`.

    The suppression list holds those of NIKs, once under each of its keys, the next of what the one before gave.
    """
    inner, outer = _halves(key)

    def hashed(text: str) -> str:
        first, second = inner.copy(), outer.copy()
        first.update(text.encode())
        second.update(first.digest())
        return second.hexdigest()[:TOKEN_HEX_DIGITS]

    return pl.Series(texts.name, [hashed(text) for text in texts.to_list()], dtype=pl.String)


def cut_token() -> str:
    """A token that no key gives, equal to no other."""
    return CUT + secrets.token_hex((TOKEN_HEX_DIGITS - len(CUT)) // 2)


def _halves(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """The two hashes of an HMAC with the key already in them (RFC 2104): `hmac` takes twice as long for many texts."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)


def _from_connection(conn_id: str, extra: str | None) -> str:
    """The password of the connection, or a key of its extra; for that of marks the password stands in."""
    connection = _connection(conn_id)
    if extra is not None and connection.extra.get(extra):
        return str(connection.extra[extra])
    if extra == "suppression":
        raise UserError(
            f"Airflow connection {conn_id!r} has no key of the suppression list",
            "add 64 random hex digits as `suppression` to its extra, and keep them in your backup",
        )
    if not connection.password:
        raise UserError(f"Airflow connection {conn_id!r} holds no password", "the key is its password")
    return connection.password


def _connection(conn_id: str) -> Connection:
    try:
        return get_connection(conn_id)
    except BranchRefused as error:  # which would mean that the night can go on without one branch
        raise UserError(error.problem, "add it, with the key as password") from error
