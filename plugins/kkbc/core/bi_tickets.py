"""Tickets of a gateway: the proof that it, and not one of its users, said for whom a session asks.

Of the standard library alone and without an import of this project, so that a gateway with an environment of its own,
such as Superset, loads this file as it is. `readers.reader()` in the warehouse checks what is made here.
"""

import hashlib
import hmac
import time

# A ticket need only last until the statements of its connection have begun.
SECONDS = 900
KEY_BYTES = 32
# The planner cannot know how many branches a reader has, and takes them for few. It then reads a year of a mart row by
# row, or compares each activity of a branch with all others of the branch. By hashes, each table is read once.
PLANS = "-c enable_nestloop=off -c enable_mergejoin=off"


def ticket(reader: str, key: str, expires: int) -> str:
    """The ticket of `reader` until `expires`, in seconds since 1970.

    `key` is what `kkbc reader key` prints. Raises ValueError when it is not such a key.
    """
    secret = bytes.fromhex(key)
    if len(secret) != KEY_BYTES:
        raise ValueError(f"the key of a gateway has {2 * KEY_BYTES} hexadecimal digits")
    code = hmac.new(secret, f"{expires}.{reader}".encode(), hashlib.sha256).hexdigest()
    return f"{expires}.{code}"


def connection_options(reader: str, key: str, *, seconds: int = SECONDS) -> str:
    """The libpq `options` by which a gateway connects for `reader`.

    They go with the connection and not in a statement: other users of the gateway's login see its statements in
    pg_stat_activity.
    """
    settings = {"app.bi_user": reader, "app.bi_ticket": ticket(reader, key, int(time.time()) + seconds)}
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in settings.items())


def _escaped(value: str) -> str:
    return "".join(f"\\{letter}" if letter.isspace() or letter == "\\" else letter for letter in value)
