"""Readers who keep what a publication needs: their sessions are ended, and that is logged.

Limits that a session can set again hold nobody who does not want to be held; this does. Whoever may publish, and a
superuser, is not ended.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from kkbc.core.settings import get_settings
from kkbc.warehouse import connect

PAUSE = 0.1

log = logging.getLogger(__name__)


def end_overlong() -> int:
    """Ends the sessions of readers whose transaction outlasts `reader_transaction_seconds`; returns how many."""
    limit = get_settings().reader_transaction_seconds
    with connect("publisher", autocommit=True) as conn:
        found = conn.execute("select login, ended from readers.end_overlong(%s)", [limit]).fetchall()
    return _log_ended(found, f"whose transaction lasted longer than {limit} s")


@contextmanager
def ending_blockers(waiting: psycopg.Connection) -> Iterator[None]:
    """Ends, for the length of a block, the sessions of readers that `waiting` waits for.

    Those who come while it waits queue behind it, so that one round is enough however many they are.
    """
    process, over = waiting.info.backend_pid, threading.Event()

    def end() -> None:
        with connect("publisher", autocommit=True) as conn:
            while not over.wait(PAUSE):
                found = conn.execute("select login, ended from readers.end_blockers(%s)", [process]).fetchall()
                _log_ended(found, "which kept a table of a new shape")

    thread = threading.Thread(target=end, name="ending blockers")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _log_ended(found: list[tuple[str, bool]], why: str) -> int:
    ended = [login for login, done in found if done]
    for login in ended:
        log.warning("the session of %s was ended, %s", login, why)
    return len(ended)
