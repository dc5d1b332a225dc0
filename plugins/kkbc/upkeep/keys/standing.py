"""Which keys there are, how many tokens each of them made, and the end of those that made none that is left."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.slices.new_tokens import columns
from kkbc.upkeep.keys.rotation import NEXT
from kkbc.warehouse import connect, kept
from kkbc.warehouse.access_record import note_access

_SETTINGS = {"tokens": kept.TOKEN_KEY, "marks": kept.MARKS_KEY, "suppression list": kept.SUPPRESSION_KEY}


@dataclass(frozen=True)
class Standing:
    """The keys of an installation.

    version: of the key of the tokens, as of the warehouse. keys: of each its fingerprint in the warehouse and since
    when. rotation: whether one is under way or broke off. old: files of keys of before. rows: by version, in all.
    tables: the same by table.
    """

    version: str | None
    keys: dict[str, dict[str, Any]]
    rotation: bool
    old: list[str]
    rows: dict[str, int]
    tables: dict[str, dict[str, int]]

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def standing() -> Standing:
    """Reads which keys there are, and counts the tokens of each version in every table. Needs the owner's login."""
    with connect() as conn:
        known = {
            name: (value, set_at)
            for name, value, set_at in conn.execute("select name, value, set_at from ops.setting").fetchall()
        }
        keys = {
            label: {"fingerprint": known[name][0], "since": known[name][1].isoformat()}
            for label, name in _SETTINGS.items()
            if name in known
        }
        tables = {name: counts for name, counts in _by_table(conn) if counts}
    rows: dict[str, int] = {}
    for counts in tables.values():
        for version, count in counts.items():
            rows[version] = rows.get(version, 0) + count
    return Standing(
        known.get(kept.TOKEN_VERSION, (None,))[0],
        keys,
        NEXT in known,
        [str(path) for path in _old_files()],
        rows,
        tables,
    )


def destroy_old(*, who: str, why: str, dry_run: bool = False) -> list[str]:
    """Removes the files of keys of which no token is left in the warehouse; returns their paths.

    Raises UserError when tokens of one are left, a rotation is not at its end, or there is none.
    """
    with connect() as conn:
        version = kept.token_key(conn).prefix
        if kept.known(conn, NEXT) is not None:
            raise UserError("a rotation is not at its end", "`kkbc keys rotate` goes on with it")
        old = [path for path in _old_files() if _version_of(path) != version]
        if not old:
            raise UserError("there is no old key here", _where())
        for path in old:
            if left := _left(conn, _version_of(path)):
                raise UserError(
                    f"{path} cannot go: tokens of it are left in {left}", "`kkbc keys rotate` replaces them"
                )
    if not dry_run:
        note_access("keys destroy-old", done_by=who, why=why)
        for path in old:
            path.unlink()
    return [str(path) for path in old]


def _by_table(conn: psycopg.Connection) -> Iterator[tuple[str, dict[str, int]]]:
    for relation, column in columns(conn):
        query = sql.SQL("select left({0}, 2), count(*) from {1} where {0} is not null group by 1 order by 1")
        yield relation.as_string(), dict(conn.execute(query.format(column, relation)).fetchall())


def _left(conn: psycopg.Connection, version: str) -> str | None:
    """A table that has a token of this version; None when none has."""
    for relation, column in columns(conn):
        query = sql.SQL("select 1 from {} where starts_with({}, {}) limit 1")
        if conn.execute(query.format(relation, column, sql.Literal(version))).fetchone():
            return relation.as_string()
    noted = "select 1 from bi_kept.changed_key where starts_with(key ->> 'participant_token', %s) limit 1"
    return "bi_kept.changed_key" if conn.execute(noted, [version]).fetchone() else None


def _old_files() -> list[Path]:
    return sorted(
        path for path in get_settings().keys.glob("pii.*.key") if re.fullmatch("[0-9a-f]{2}", _version_of(path))
    )


def _version_of(path: Path) -> str:
    return path.name.removeprefix("pii.").removesuffix(".key")


def _where() -> str:
    if connection := get_settings().pii_key_connection:
        return f"that of Airflow connection {connection!r} went when `next` took the place of the password"
    return f"{get_settings().keys / tokens.KEY_FILE} is the one in use"
