"""What the warehouse keeps about itself: settings that a night made, and whose key made its tokens."""

import psycopg

from kkbc.core import tokens
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


def keep(conn: psycopg.Connection, name: str, value: str) -> None:
    """Keeps a setting, in place of what was kept under its name."""
    conn.execute(
        "insert into ops.setting (name, value) values (%s, %s)"
        " on conflict (name) do update set value = excluded.value, set_at = now()",
        [name, value],
    )
