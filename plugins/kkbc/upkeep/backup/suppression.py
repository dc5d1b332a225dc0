"""The list of those who were erased, kept beside the backups: a backup of before would bring them back.

An entry is a row of `vault.suppressed`, a keyed token with what goes with it; no person is in it. The list in a folder
of backups only grows: a warehouse that was restored and knows fewer of them takes nobody off it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psycopg

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.upkeep.backup.store import Store, damaged

LIST = "suppressed.json"
Entry = dict[str, Any]


def apply_suppression(entries: Sequence[Entry]) -> int:
    """Erases again those of a warehouse that was just restored whom `entries` name; returns how many of them.

    No command erases a person yet, so none of them is erased, and the restore says so.
    """
    del entries
    return 0


def read(conn: psycopg.Connection) -> list[Entry]:
    """The entries of the warehouse; none where it does not know the table."""
    row = conn.execute("select to_regclass('vault.suppressed') is not null").fetchone()
    if row is None or not row[0]:
        return []
    return [entry for (entry,) in conn.execute("select to_jsonb(s) from vault.suppressed s").fetchall()]


def update(store: Store, entries: Iterable[Entry]) -> int:
    """Adds entries to the list beside the backups; returns how many it has."""
    path = store.key(LIST)
    merged = {_key(entry): entry for entry in (*(load(store) or []), *entries)}
    body = [merged[key] for key in sorted(merged)]
    document = {"taken_at": f"{clock.now():%Y-%m-%dT%H:%M:%SZ}", "entries": body, "sha256": _digest(body)}
    store.write(path, json.dumps(document, indent=1))
    return len(body)


def load(store: Store) -> list[Entry] | None:
    """The list beside the backups; None when there is none. Raises UserError when it is damaged."""
    path = store.key(LIST)
    return _parse(store.fs.cat_file(path), path) if store.fs.exists(path) else None


def load_file(path: Path) -> list[Entry]:
    """A list that was kept elsewhere. Raises UserError when it cannot be read or is damaged."""
    return _parse(path.read_bytes(), str(path))


def outstanding(wanted: Iterable[Entry], known: Iterable[Entry]) -> list[Entry]:
    """The entries of a list that a warehouse does not have."""
    there = {_key(entry) for entry in known}
    return [entry for entry in wanted if _key(entry) not in there]


def _parse(content: bytes, path: str) -> list[Entry]:
    try:
        document = json.loads(content)
        entries = list(document["entries"])
        if document["sha256"] != _digest(entries):
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(damaged(path).problem, "bring the list from another copy: --suppression FILE") from error
    return entries


def _key(entry: Entry) -> str:
    return json.dumps(entry, sort_keys=True)


def _digest(entries: list[Entry]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
