"""What the warehouse keeps about itself: settings that a night made, and which keys its tokens and marks are of."""

from collections.abc import Sequence

import psycopg
from filelock import FileLock

from kkbc.core import landing_keys, tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.core.tokens import Key

TOKEN_KEY = "pii_key_fingerprint"  # noqa: S105 (a name)
TOKEN_VERSION = "pii_key_version"  # noqa: S105 (a name)
MARKS_KEY = "marks_key_fingerprint"
SUPPRESSION_KEY = "suppression_key_fingerprint"
_FILES = {TOKEN_KEY: tokens.KEY_FILE, MARKS_KEY: tokens.MARKS_FILE, SUPPRESSION_KEY: tokens.SUPPRESSION_FILE}
_NAMES = {TOKEN_KEY: "participant tokens", MARKS_KEY: "marks", SUPPRESSION_KEY: "suppression list"}


def check_key(conn: psycopg.Connection) -> None:
    """Refuses keys other than those that the warehouse was loaded with; the first ones are noted.

    With another key of the tokens every known participant would be a stranger, with another key of marks every known
    mark, and with another one of the suppression list nobody would be on it. Raises UserError.
    """
    key = token_key(conn)
    if known(conn, TOKEN_KEY) is None:
        keep(conn, TOKEN_KEY, key.fingerprint)
        keep(conn, TOKEN_VERSION, key.prefix)
    # Those of an installation of an earlier version are made at its next start.
    found = fingerprint_of_all([tokens.load_marks_key()]) if tokens.has_marks_key() else None
    wanted = known(conn, MARKS_KEY)
    if wanted is None and found is not None:
        keep(conn, MARKS_KEY, found)
    elif wanted != found:
        raise _wrong(MARKS_KEY)
    if (keys := suppression_keys(conn)) and known(conn, SUPPRESSION_KEY) is None:
        keep(conn, SUPPRESSION_KEY, fingerprint_of_all(keys))


def token_key(conn: psycopg.Connection) -> Key:
    """The key that the tokens of this warehouse are made with: the one at its place, or the next one.

    That is so when a change of keys was carried out in the warehouse and broke off before the file was put in its
    place, which is done here, or when the connection is still to be changed. Raises UserError when it is neither.
    """
    wanted = known(conn, TOKEN_KEY)
    if wanted is None:
        return tokens.load_key()
    failure: UserError | None = None
    try:
        if (key := tokens.load_key()).fingerprint == wanted:
            return _of_version(conn, key)
    except UserError as error:
        failure = error
    key_to_come = tokens.load_next_key()
    if key_to_come is not None and key_to_come.fingerprint == wanted:
        put_next(tokens.KEY_FILE)
        return _of_version(conn, key_to_come)
    # Another process may have put it in place since.
    if failure is None and (key := tokens.load_key()).fingerprint == wanted:
        return _of_version(conn, key)
    raise failure or _wrong(TOKEN_KEY)


def suppression_keys(conn: psycopg.Connection) -> tuple[bytes, ...]:
    """The keys that the suppression list of this warehouse was made with, likewise; none where none is kept.

    Raises UserError.
    """
    wanted = known(conn, SUPPRESSION_KEY)
    if wanted is None:
        return tokens.load_suppression_keys() if tokens.has_suppression_keys() else ()
    keys = tokens.load_suppression_keys()
    if fingerprint_of_all(keys) == wanted:
        return keys
    following = tokens.load_next_suppression_keys()
    if following is not None and fingerprint_of_all(following) == wanted:
        put_next(tokens.SUPPRESSION_FILE)
        return following
    if fingerprint_of_all(keys := tokens.load_suppression_keys()) == wanted:
        return keys
    raise _wrong(SUPPRESSION_KEY)


def fingerprint_of_all(keys: Sequence[bytes]) -> str:
    """A value that tells keys that are used one after the other apart from others."""
    return tokens.fingerprint(b"".join(keys))


def put_next(file: str) -> None:
    """Puts the file of the next key in the place of `file`; that of the tokens is kept under its version until then."""
    if get_settings().pii_key_connection:
        return
    folder = get_settings().keys
    place, following = folder / file, folder / tokens.next_of(file)
    with FileLock(folder / ".keys.lock"):
        if not following.exists():
            return
        if file == tokens.KEY_FILE and place.exists():
            old = place.read_text().strip()
            version = old.rpartition(":")[0] or "01"
            tokens.make_secret(folder / file.replace(".key", f".{version}.key"), old)
        following.replace(place)


def known(conn: psycopg.Connection, name: str) -> str | None:
    """A setting that was kept; None when it was not."""
    row = conn.execute("select value from ops.setting where name = %s", [name]).fetchone()
    return None if row is None else str(row[0])


def check_landing_keys(conn: psycopg.Connection) -> None:
    """Notes the key that landing's files are encrypted under from now on.

    Raises UserError when it is not there, or one that files were encrypted under before is not.
    """
    key_ids, encrypts = landing_key_ids(conn), get_settings().landing_encryption
    if not (key_ids or encrypts):
        return
    keys = landing_keys.load()
    missing = [key_id for key_id in key_ids if key_id not in keys.ids]
    if missing:
        raise UserError(
            f"files of landing are encrypted under the key {missing[0]}, which {landing_keys.place()} does not hold",
            f"{landing_keys.RESTORE}. If no file needs it any more: `kkbc landing drop-key`",
        )
    if encrypts and keys.first.id not in key_ids:
        keep_landing_key_ids(conn, [*key_ids, keys.first.id])


def landing_key_ids(conn: psycopg.Connection) -> list[str]:
    """The ids of the keys that files of landing may be encrypted under."""
    return (known(conn, "landing_key_ids") or "").split()


def keep_landing_key_ids(conn: psycopg.Connection, key_ids: Sequence[str]) -> None:
    """Keeps the ids of the keys that files of landing may be encrypted under from now on."""
    keep(conn, "landing_key_ids", " ".join(key_ids))


def keep(conn: psycopg.Connection, name: str, value: str) -> None:
    """Keeps a setting, in place of what was kept under its name."""
    conn.execute(
        "insert into ops.setting (name, value) values (%s, %s)"
        " on conflict (name) do update set value = excluded.value, set_at = now()",
        [name, value],
    )


def check_present(conn: psycopg.Connection) -> None:
    """Refuses to go on without a key file that the warehouse was loaded with: a new one would be made in its place.

    Raises UserError.
    """
    folder = get_settings().keys
    for setting, file in _FILES.items():
        if (folder / file).exists() or known(conn, setting) is None:
            continue
        if setting == TOKEN_KEY and tokens.load_next_key() is not None:
            token_key(conn)
        else:
            raise UserError(
                f"the key file {folder / file} is gone, and the warehouse was loaded with it",
                "restore your backup; if there is none, see docs/runbooks/a-key-is-lost.md",
            )


def _of_version(conn: psycopg.Connection, key: Key) -> Key:
    """The same key; its version is that which the warehouse knows, whatever its place says."""
    return Key(int(known(conn, TOKEN_VERSION) or key.prefix, 16), key.secret)


def _wrong(setting: str) -> UserError:
    return UserError(
        f"the key of the {_NAMES[setting]} is not the one that this warehouse was loaded with",
        f"restore {get_settings().keys / _FILES[setting]} from your backup, or name the right Airflow connection",
    )
