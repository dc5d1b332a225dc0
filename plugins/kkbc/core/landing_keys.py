"""The keys that landing is encrypted under: from the environment, an Airflow connection, or a file of the home.

There may be several, separated by white space or commas: the first is for new files, the others for files that were
encrypted before. So a key is replaced as Airflow's Fernet key is: the new one is put first, the data keys of all files
are wrapped by it, and the earlier one is taken away.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kkbc.core.connections import get_connection
from kkbc.core.encryption import KEY_BYTES, Keyring, WrappingKey
from kkbc.core.errors import BranchRefused, UserError
from kkbc.core.files import read_private, replacing
from kkbc.core.settings import get_settings
from kkbc.core.tokens import make_secret

VARIABLE = "KKBC_LANDING_KEY"
KEY_FILE = "landing.key"
RESTORE = "restore the key from its backup: files that are encrypted under it cannot be read without"


def key_file() -> Path:
    """The file of the home that holds the keys, where they are not elsewhere."""
    return get_settings().keys / KEY_FILE


def place() -> str:
    """Where the keys come from, as messages name it."""
    if os.environ.get(VARIABLE):
        return f"the variable {VARIABLE}"
    connection = get_settings().landing_key_connection
    return f"Airflow connection {connection!r}" if connection else f"the key file {key_file()}"


def in_file() -> bool:
    """Whether the keys are those of the file: then commands may change them."""
    return not os.environ.get(VARIABLE) and not get_settings().landing_key_connection


def load() -> Keyring:
    """The keys. Raises UserError when there is none, one is not 32 bytes, or other users may read the file."""
    found = [text for text in _text().replace(",", " ").split() if text]
    if not found:
        raise UserError(f"{place()} holds no key", RESTORE)
    keys = []
    for number, text in enumerate(found, 1):
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            secret = b""
        if len(secret) != KEY_BYTES:
            which = f"key {number} of {place()}" if len(found) > 1 else f"the key of {place()}"
            raise UserError(f"{which} is not {2 * KEY_BYTES} hexadecimal digits", RESTORE)
        keys.append(WrappingKey(secret))
    return Keyring(dict.fromkeys(keys))


def ensure() -> None:
    """Makes the key file with one key, mode 0600. An existing file, and keys that are kept elsewhere, stay."""
    if in_file():
        make_secret(key_file(), _new())


def begin_rotation() -> Keyring:
    """Puts a new key before the one of the key file; returns all. Where there are several, one has begun already.

    The keys must be in the file. Raises UserError as load does.
    """
    with _folder_locked() as folder:
        keys = load()
        return keys if len(keys.keys) > 1 else _write([WrappingKey(bytes.fromhex(_new())), *keys.keys], folder)


def end_rotation(keys: Keyring) -> Keyring:
    """Takes all of `keys`, which are those of the key file, but the first out of it; returns what is left.

    Raises UserError when the file holds others by now.
    """
    with _folder_locked() as folder:
        if load().ids != keys.ids:
            raise UserError(f"the keys of {place()} were changed meanwhile", "do it again")
        return _write([keys.first], folder)


@contextmanager
def _folder_locked() -> Iterator[int]:
    """Keeps others from changing the key file for the length of a block; the descriptor of its folder."""
    folder = os.open(key_file().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _write(keys: list[WrappingKey], folder: int) -> Keyring:
    with replacing(key_file(), private=True) as made, made.open("w") as file:
        file.writelines(f"{key.secret.hex()}\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    os.fsync(folder)  # no file may lie under a key that a power cut takes back
    return Keyring(keys)


def _new() -> str:
    return secrets.token_hex(KEY_BYTES)


def _text() -> str:
    if text := os.environ.get(VARIABLE):
        return text
    if connection := get_settings().landing_key_connection:
        try:
            return get_connection(connection).password
        except BranchRefused as error:  # which would mean that the night can go on without one branch
            raise UserError(error.problem, "add it, with the key as password") from error
    return read_private(key_file(), "the key file", missing=RESTORE).decode("utf-8", "replace")
