"""Keys, and what is made with them: a keyed hash stands for the NIK everywhere but in landing and the vault.

There are three, so that each can be changed or destroyed alone: that of the participant tokens; that of marks and
subjects (what stands for a text or a person where neither may be read); and that of the suppression list, which
outlives the tokens of the persons on it.
"""

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import polars as pl

from kkbc.core.connections import get_connection
from kkbc.core.errors import BranchRefused, UserError
from kkbc.core.settings import get_settings

KEY_FILE = "pii.key"
MARKS_FILE = "marks.key"
SUPPRESSION_FILE = "suppression.key"
KEY_BYTES = 32
_BLOCK_BYTES = 64  # of SHA-256
TOKEN_HEX_DIGITS = 32  # 128 of the 256 bits: no collision to fear among a billion persons, half the index


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
    return make_secret(folder / KEY_FILE, secrets.token_hex(KEY_BYTES))


def make_secret(path: Path, text: str) -> Path:
    """Writes `text` to a new file that only its owner may read, in a folder likewise; leaves an existing one alone.

    The file is there with its text or not at all: an empty one would never be filled.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        return path
    descriptor, written = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
        with suppress(FileExistsError):
            os.link(written, path)
    finally:
        Path(written).unlink()
    return path


def load_key() -> bytes:
    """The key of the tokens: of the Airflow connection that the settings name, else of the key file.

    Raises UserError when there is none, it is too short, or other users may read its file.
    """
    (key,) = _load(KEY_FILE, None)
    return key


def load_marks_key() -> bytes:
    """The key of marks and subjects: `marks` in the extra of that connection, else of its file.

    Where the connection has none it is the key of the tokens. Raises UserError as load_key does.
    """
    (key,) = _load(MARKS_FILE, "marks")
    return key


def load_suppression_keys() -> tuple[bytes, ...]:
    """The keys of the suppression list, one a line or with blanks between them, in the order in which they are used.

    They are `suppression` in the extra of that connection, else in their file. Raises UserError as load_key does.
    """
    return _load(SUPPRESSION_FILE, "suppression")


def _load(file: str, extra: str | None) -> tuple[bytes, ...]:
    settings = get_settings()
    if settings.pii_key_connection:
        place = f"Airflow connection {settings.pii_key_connection!r}"
        text = _from_connection(settings.pii_key_connection, extra)
    else:
        place = str(settings.keys / file)
        text = _from_file(settings.keys / file)
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
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except FileNotFoundError as error:
        raise UserError(
            f"the key file {path} does not exist", "restore it from your backup; `make up` makes one for a new home"
        ) from error
    except PermissionError as error:
        raise UserError(f"the key file {path} may not be read", "run as the user who owns it") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"the key file {path} can be read by others", f"chmod 600 {path}")
    return text


def subject(nik: str, key: bytes) -> str:
    """What stands for a person in the record of accesses: 32 hex digits of HMAC-SHA256 under the key of marks.

    It stays the same when the key of the tokens is changed, and is no token.
    """
    return hmac.new(key, b"subject " + nik.encode(), hashlib.sha256).hexdigest()[:TOKEN_HEX_DIGITS]


def fingerprint(key: bytes) -> str:
    """A value that tells keys apart and gives nothing away, kept in the warehouse to notice a wrong key."""
    return hmac.new(key, b"kkbc key fingerprint", hashlib.sha256).hexdigest()[:16]


def tokens(niks: pl.Series, key: bytes) -> pl.Series:
    """The participant tokens of `niks` (String, 16 digits): 32 hex digits each, of HMAC-SHA256 under `key`."""
    inner, outer = _halves(key)

    def token(nik: str) -> str:
        first, second = inner.copy(), outer.copy()
        first.update(nik.encode())
        second.update(first.digest())
        return second.hexdigest()[:TOKEN_HEX_DIGITS]

    return pl.Series("participant_token", [token(nik) for nik in niks.to_list()], dtype=pl.String)


def _halves(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """The two hashes of an HMAC with the key already in them (RFC 2104): `hmac` takes twice as long for many texts."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)


def _from_connection(conn_id: str, extra: str | None) -> str:
    """The password of the connection, or a key of its extra; for that of marks the password stands in."""
    try:
        connection = get_connection(conn_id)
    except BranchRefused as error:  # which would mean that the night can go on without one branch
        raise UserError(error.problem, "add it, with the key as password") from error
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
