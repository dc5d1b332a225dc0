"""What the warehouse keeps about itself: settings that a night made, and whose key made its tokens."""

from collections.abc import Sequence

import psycopg

from kkbc.core import landing_keys, tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings


def check_key(conn: psycopg.Connection) -> None:
    """A key other than the one the tokens were made with would make every known participant a stranger."""
    found = tokens.fingerprint(tokens.load_key())
    row = conn.execute("select value from ops.setting where name = 'pii_key_fingerprint'").fetchone()
    if row is None:
        keep(conn, "pii_key_fingerprint", found)
    elif row[0] != found:
        raise UserError(
            "the key of the participant tokens is not the one that this warehouse was loaded with",
            f"restore {get_settings().keys / tokens.KEY_FILE} from your backup, or name the right Airflow connection",
        )


def check_landing_keys(conn: psycopg.Connection) -> None:
    """Notes the key that landing's files are encrypted under from now on.

    Raises UserError when it is not there, or one that files were encrypted under before is not.
    """
    known, encrypts = landing_key_ids(conn), get_settings().landing_encryption
    if not (known or encrypts):
        return
    keys = landing_keys.load()
    missing = [key_id for key_id in known if key_id not in keys.ids]
    if missing:
        raise UserError(
            f"files of landing are encrypted under the key {missing[0]}, which {landing_keys.place()} does not hold",
            f"{landing_keys.RESTORE}. If no file needs it any more: `kkbc landing drop-key`",
        )
    if encrypts and keys.first.id not in known:
        keep_landing_key_ids(conn, [*known, keys.first.id])


def landing_key_ids(conn: psycopg.Connection) -> list[str]:
    """The ids of the keys that files of landing may be encrypted under."""
    row = conn.execute("select value from ops.setting where name = 'landing_key_ids'").fetchone()
    return row[0].split() if row is not None else []


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
