"""The list of those who were erased, kept beside the backups: a backup of before would bring them back.

An entry is a row of `vault.suppressed`, a keyed token with what goes with it; no person is in it. The list in a folder
of backups only grows: a warehouse that was restored and knows fewer of them takes nobody off it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core import clock
from kkbc.core.errors import NotLanded, UserError
from kkbc.core.settings import get_settings
from kkbc.core.suppression import Suppression
from kkbc.intake.erasing import numbers_in
from kkbc.intake.landing import Landing
from kkbc.rights import Wanted, erase
from kkbc.slices.new_tokens import niks_in_vault
from kkbc.upkeep.backup.store import Store, damaged
from kkbc.warehouse import connect
from kkbc.warehouse.kept import SUPPRESSION_KEY, fingerprint_of_all, known, suppression_keys

LIST = "suppressed.json"
Entry = dict[str, Any]


def apply_suppression(entries: Sequence[Entry]) -> int:
    """Erases again those of a warehouse that was just restored whom `entries` name; returns how many are done.

    Whose rows are there is found by trying the NIKs of vault and landing. All go on the list of the warehouse, so that
    nobody comes back with a later delivery. Entries under other keys than those that were restored cannot be tried, and
    are left. Raises what an erasure raises, which goes on when the restore is done again.
    """
    with connect() as conn:
        keys = suppression_keys(conn)
        usable = [entry for entry in entries if keys and entry["keys"] == fingerprint_of_all(keys)]
        listed = Suppression(keys, frozenset(str(entry["token"]) for entry in usable))
        niks = sorted(_listed_niks(conn, listed)) if usable else []
    if niks:
        persons = Wanted(tuple(niks), tuple(range(1, len(niks) + 1)))
        erase(persons, why="was erased before this backup was restored", who="kkbc restore")
    with connect() as conn, conn.cursor() as cursor:
        cursor.executemany(
            "insert into vault.suppressed (token, erasure_id, suppressed_at, suppressed_id)"
            " values (%(token)s, %(erasure_id)s, %(suppressed_at)s, %(suppressed_id)s)"
            " on conflict (token) do update set suppressed_id = excluded.suppressed_id",
            usable,
        )
    return len(usable)


def _listed_niks(conn: psycopg.Connection, listed: Suppression) -> set[str]:
    """The NIKs in vault and landing whose persons are on the list."""
    found: set[str] = set()

    def look(niks: pl.Series) -> None:
        found.update(niks.filter(listed.suppressed(niks)))

    for table, nik in niks_in_vault():
        query = sql.SQL("select distinct {} from {}").format(nik, table)
        look(pl.Series([nik for (nik,) in conn.execute(query).fetchall()], dtype=pl.String))
    landing = Landing(get_settings().landing)
    for uri in landing.uris():
        # A visit that was killed leaves a folder without a file.
        with suppress(NotLanded), landing.open(uri) as landed:
            for niks in numbers_in(landed.readable):
                look(niks)
    return found


def read(conn: psycopg.Connection) -> list[Entry]:
    """The entries of the warehouse, each with the fingerprint of the keys that its token is of; none before the table
    was made.
    """
    row = conn.execute("select to_regclass('vault.suppressed') is not null").fetchone()
    if row is None or not row[0]:
        return []
    query = "select to_jsonb(s) || jsonb_build_object('keys', %s::text) from vault.suppressed s"
    return [entry for (entry,) in conn.execute(query, [known(conn, SUPPRESSION_KEY)]).fetchall()]


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
    return str(entry["suppressed_id"])


def _digest(entries: list[Entry]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
