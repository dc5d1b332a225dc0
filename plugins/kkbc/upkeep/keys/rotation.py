"""Rotation: the next key takes the place of the one of the tokens, in the warehouse and then in its place.

New tokens are made from the vault while nights go on. Then one transaction replaces them all, with the fingerprint of
the key; what comes after it is only that the next key's file takes the name of the old one's. A rotation that broke
off anywhere is done again, and goes on with what there is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.core.tokens import Key
from kkbc.marts.spark import place
from kkbc.slices import new_tokens, replacing_tokens
from kkbc.warehouse import connect, kept, locks
from kkbc.warehouse.access_record import note_access
from kkbc.warehouse.locks import Lock

NEXT = "pii_key_next_fingerprint"
# So much of a server's memory as one statement over the largest table can use well.
MEMORY = "256MB"
Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Foreseen:
    """What a rotation would do. persons: tokens that get one of the next key; unknown: those of raw that would be cut.

    suppressed: entries of the suppression list.
    """

    version: int
    next_version: int
    persons: int
    unknown: int
    suppressed: int


@dataclass(frozen=True)
class Rotation:
    """What a rotation did. rows: those that were changed, by table. cut: tokens without a way back to a person."""

    version_before: int
    version: int
    persons: int
    cut: int
    suppressed: int
    rows: dict[str, int]


def foresee(*, lost: bool = False) -> Foreseen:
    """What a rotation would do; nothing is changed. Raises UserError as `rotate` does."""
    with _owner() as conn:
        version = _version(conn, lost=lost)
        return Foreseen(
            version,
            version % tokens.LAST_VERSION + 1,
            new_tokens.persons(conn),
            new_tokens.unknown(conn),
            replacing_tokens.suppressed(conn),
        )


def rotate(
    *,
    why: str,
    who: str,
    lost: bool = False,
    cut_unknown: bool = False,
    step: Step = lambda task, done, total: None,
    wait: Callable[[], None] = lambda: None,
) -> Rotation | None:
    """Changes the key of the tokens; None when an earlier rotation had only its end left, which is done now.

    Needs the owner's login. lost: do without the old key. cut_unknown: tokens whose person the vault no longer has are
    cut; without it they stop the rotation. `step` is told what is at work, and of it parts done and in all; `wait` is
    called when nights, builds or publications have to be waited for.
    Raises UserError for an empty reason, a key that is not the warehouse's, and a next key that is lacking, Busy for
    others that do not end; nothing was changed then.
    """
    if not why.strip():
        raise UserError("a change of the key needs a reason", "give it: --why 'yearly change'")
    with _owner() as conn:
        version = _version(conn, lost=lost)
        committed = kept.known(conn, NEXT)
    if committed is not None and committed == _known_key():
        _finish(step)
        return None
    note_access("keys rotate", done_by=who, why=why)
    with _owner() as conn:
        if not cut_unknown and (unknown := new_tokens.unknown(conn)):
            raise _unknown(unknown)
        key = _next_key(conn, version)
        _begin(conn, key)
    with connect() as reading, connect() as writing:
        persons = new_tokens.make(reading, writing, key, lambda count: step("new tokens", count, 0))
    rotation = _switch(key, version, persons, cut_unknown=cut_unknown, step=step, wait=wait)
    _finish(step)
    return rotation


def _switch(
    key: Key, version: int, persons: int, *, cut_unknown: bool, step: Step, wait: Callable[[], None]
) -> Rotation:
    """Replaces all tokens, in one transaction, under the locks of erasures, nights, publications, builds and loads.

    An erasure puts persons on the suppression list by keys that it read before: none must come in between.
    """
    with _owner() as conn:
        conn.execute(
            sql.SQL(
                "set local work_mem = {}; set local statement_timeout = 0; set local transaction_timeout = 0"
            ).format(MEMORY)
        )
        conn.execute("select set_config('application_name', 'kkbc rotation of keys', true)")
        for lock in (Lock.ERASURE, Lock.NIGHT, Lock.PUBLISH, Lock.BUILD):
            if not locks.take_if_free(conn, lock):
                wait()
                locks.take(conn, lock)
        if kept.known(conn, NEXT) != key.fingerprint or kept.known(conn, kept.TOKEN_KEY) == key.fingerprint:
            raise UserError("another rotation was faster", "`kkbc keys status` tells which key there is")
        # Who is restricted, or read in the vault, is noted under a token of before or of after.
        conn.execute("lock table vault.restricted, vault.seen in share row exclusive mode")
        persons += new_tokens.make(conn, conn, key)
        if not cut_unknown and (unknown := new_tokens.unknown(conn)):
            raise _unknown(unknown)
        cut = new_tokens.cut_unknown(conn)
        suppressed = replacing_tokens.suppressed(conn)
        if suppressed:
            keys = _next_suppression_keys(conn)
            replacing_tokens.rehash_suppressed(conn, keys[-1])
            kept.keep(conn, kept.SUPPRESSION_KEY, kept.fingerprint_of_all(keys))
        rows = replacing_tokens.replace_all(conn, lambda done, total: step("tables", done, total))
        kept.keep(conn, kept.TOKEN_KEY, key.fingerprint)
        kept.keep(conn, kept.TOKEN_VERSION, key.prefix)
    return Rotation(version, key.version, persons, cut, suppressed, rows)


def _finish(step: Step) -> None:
    """Puts the files in their places, and frees the room of the old rows."""
    place.forget(get_settings())
    with connect("loader") as conn:
        kept.token_key(conn)
        kept.suppression_keys(conn)
    with connect(autocommit=True) as conn:
        relations = [
            (schema, sql.SQL(relation))
            for schema, relation in conn.execute(
                "select distinct relnamespace::regnamespace::text, oid::regclass::text"
                " from ops.token_columns() c left join lateral pg_partition_tree(c.relation) t on t.isleaf"
                " join pg_class on oid = coalesce(t.relid, c.relation) where relkind = 'r' order by 1, 2"
            ).fetchall()
        ]
        for number, (schema, relation) in enumerate(relations):
            step("room of old rows", number, len(relations))
            if schema not in ("raw", "vault") or not _rewrite(conn, relation):
                conn.execute(sql.SQL("vacuum (analyze) {}").format(relation))
        conn.execute("delete from ops.setting where name = %s", [NEXT])


def _rewrite(conn: psycopg.Connection, relation: sql.SQL) -> bool:
    """Gives the room of a table's old rows back to the disk; False when others held on to it.

    Nights would never fill it: what comes goes into the table of its own month. One table at a time, so that loads and
    builds come in between. No reader sees raw or vault; tables that readers see, and those that are published to them,
    are left, for they would be locked, and compared whole.
    """
    with locks.locked(Lock.BUILD, "room of old rows", role="transformer"):
        conn.execute("set lock_timeout = '60s'")
        try:
            conn.execute(sql.SQL("vacuum (full, analyze) {}").format(relation))
        except psycopg.errors.LockNotAvailable:
            return False
    return True


def _version(conn: psycopg.Connection, *, lost: bool) -> int:
    """The version of the warehouse's key. Raises UserError unless its keys are there, or that of the tokens is lost."""
    known = kept.known(conn, kept.TOKEN_VERSION)
    if known is None:
        raise UserError(
            "nothing is loaded yet, so that there are no tokens", "put another key in its place: nothing more"
        )
    if lost:
        with suppress(UserError):
            kept.token_key(conn)  # an earlier rotation may have only its end left
    else:
        try:
            kept.check_key(conn)
        except UserError as error:
            raise UserError(error.problem, f"{error.remedy}; without it: `kkbc keys rotate --lost`") from error
    connection = get_settings().pii_key_connection
    if connection and not tokens.has_marks_key(own=True):
        raise UserError(
            f"Airflow connection {connection!r} has no key of marks of its own: they would change with the tokens",
            "add the present password as `marks` to its extra",
        )
    return int(known, 16)


def _next_key(conn: psycopg.Connection, version: int) -> Key:
    """The key to come: that of a rotation that broke off, or of the connection, or a new one."""
    connection = get_settings().pii_key_connection
    following = Key.following(version)
    if not connection and tokens.load_next_key() is None:
        place = get_settings().keys / tokens.next_of(tokens.KEY_FILE)
        tokens.make_secret(place, following.text)
    if replacing_tokens.suppressed(conn):
        _next_suppression_keys(conn)
    found = tokens.load_next_key()
    if found is None:
        raise UserError(
            f"Airflow connection {connection!r} has no next key",
            "add 64 random hex digits (openssl rand -hex 32) as `next` to its extra",
        )
    if found.fingerprint == kept.known(conn, kept.TOKEN_KEY):
        raise UserError("the next key is the present one", "give another as `next`, or remove it")
    return Key(following.version, found.secret)


def _next_suppression_keys(conn: psycopg.Connection) -> tuple[bytes, ...]:
    """The keys of the suppression list and one more, kept beside it until they take its place."""
    keys = kept.suppression_keys(conn)
    found = tokens.load_next_suppression_keys()
    if found is None and not get_settings().pii_key_connection:
        layers = (*keys, Key.following(0).secret)
        place = get_settings().keys / tokens.next_of(tokens.SUPPRESSION_FILE)
        tokens.make_secret(place, "\n".join(key.hex() for key in layers))
        found = tokens.load_next_suppression_keys()
    if found is None or len(found) != len(keys) + 1 or found[:-1] != keys:
        raise UserError(
            "the next keys of the suppression list are not the present ones and one more",
            "the connection's extra `suppression_next` takes them, with blanks between; a file is made by itself",
        )
    return found


def _begin(conn: psycopg.Connection, key: Key) -> None:
    """Notes which key is to come; new tokens of another one that was to come are forgotten."""
    if kept.known(conn, NEXT) != key.fingerprint:
        new_tokens.forget(conn)
        kept.keep(conn, NEXT, key.fingerprint)


def _known_key() -> str | None:
    with connect("loader") as conn:
        return kept.known(conn, kept.TOKEN_KEY)


def _unknown(count: int) -> UserError:
    return UserError(
        f"{count} tokens are of persons whom the vault no longer has: no new token can be made for them",
        "--cut-unknown cuts them: their rows stay, and a later row of such a person is of a new participant",
    )


@contextmanager
def _owner() -> Iterator[psycopg.Connection]:
    """A transaction as the owner of the database."""
    try:
        with connect() as conn:
            yield conn
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(
            "the login of the warehouse may not change its tokens", "do it as the owner of the database"
        ) from error
