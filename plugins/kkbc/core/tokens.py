"""Participant tokens: a keyed hash stands for the NIK everywhere but in landing and the vault."""

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
KEY_BYTES = 32
_BLOCK_BYTES = 64  # of SHA-256
TOKEN_HEX_DIGITS = 32  # 128 of the 256 bits: no collision to fear among a billion persons, half the index


def ensure_key(home: Path) -> Path:
    """Makes the key file of an installation at its first start, mode 0600; returns its path.

    An existing key is never replaced: tokens made with another key would not match those in the warehouse.
    """
    return make_secret(home / "keys" / KEY_FILE, secrets.token_hex(KEY_BYTES))


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
    """The key: of the Airflow connection that the settings name, else of the key file.

    Raises UserError when there is none, it is too short, or other users may read its file.
    """
    settings = get_settings()
    if settings.pii_key_connection:
        text = _from_connection(settings.pii_key_connection)
        place = f"Airflow connection {settings.pii_key_connection!r}"
    else:
        path = settings.keys / KEY_FILE
        place = str(path)
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
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise UserError(
            f"the key in {place} is no hexadecimal text", "restore the key that the warehouse knows"
        ) from error
    if len(key) < KEY_BYTES:
        raise UserError(f"the key in {place} is shorter than {KEY_BYTES} bytes", "restore the right one")
    return key


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


def _from_connection(conn_id: str) -> str:
    try:
        password = get_connection(conn_id).password
    except BranchRefused as error:  # which would mean that the night can go on without one branch
        raise UserError(error.problem, "add it, with the key as password") from error
    if not password:
        raise UserError(f"Airflow connection {conn_id!r} holds no password", "the key is its password")
    return password
