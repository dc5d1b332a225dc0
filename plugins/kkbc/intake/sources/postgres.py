"""Kind `postgres`: a branch's schema `ekspor`, each delivery read in one snapshot (branch exchange, Database).

Nothing but SELECT is sent, in sessions that are read-only.
"""

import hashlib
import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import make_conninfo

from kkbc.core import clock
from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable, SliceRejected
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import Branch
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources.base import Manifest, Wanted
from kkbc.intake.sources.bounds import Bounds, Deadline
from kkbc.intake.sources.manifest import MAX_REVISION, NOT_TAKEN, Place, judge_rows, refused_manifest

_T = TypeVar("_T")

SCHEMA = "ekspor"
_OWN_COLUMNS = ("tgl_data", "revisi")
# Rows that travel together, and what one may have: no more than that is in memory, twice over.
_ROWS_AT_ONCE = 200
_ROW_BYTES = 256 << 10
# Of what pengiriman announces, the latest.
_MOST_ANNOUNCED = 60_000
_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey")

# What only a person can fix, in the words of servers and of libpq: while connecting there are no codes to go by.
_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "permission denied",
    "not permitted to log in",
    "certificate",
    "SSL was required",
    "invalid ",
)

# As JSON, so that a time out of any calendar, or a number that is none, is judged here and not by the driver.
# What is longer than anything valid stays where it is.
_PENGIRIMAN = """
    select tgl_data::date, case when octet_length(revisi::text) <= 40 then to_json(revisi) else '"?"' end,
        json_build_object(
            'feed', rtrim(left(umpan::text, 200)),
            'rows', case when octet_length(jumlah_baris::text) <= 40 then jumlah_baris end,
            'sent_at', case when octet_length(dikirim_pada::text) <= 100 then dikirim_pada end
        )
    from ekspor.pengiriman where tgl_data between %s and %s
    order by tgl_data desc, revisi desc, umpan desc, dikirim_pada desc
    limit %s
"""

_SETTINGS = """
    select set_config('default_transaction_read_only', 'on', false), set_config('timezone', %s, false),
        set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),
        set_config('idle_in_transaction_session_timeout', %s, false)
"""

# A table's columns, the types below their domains, which may be read, and whether rows have a place in the table.
_COLUMNS = """
    select a.attname, coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text,
        has_column_privilege(c.oid, a.attnum, 'select'),
        c.relkind in ('r', 'p', 'm') and has_table_privilege(c.oid, 'select')
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    where n.nspname = %s and c.relname = %s
    order by a.attnum
"""


@dataclass(frozen=True)
class Limits:
    """How long a visit waits, in seconds: for a connection, a statement, a lock, and for us between two statements."""

    connect: float = 10
    statement: float = 300
    lock: float = 30
    idle: float = 900
    grace: float = 15
    """Beyond `statement`, for a server that does not even end what takes too long."""


class PostgresSource:
    """Deliveries of `branch` in the database that `connection` names: host, port, login, password, schema.

    `schema` is the name of the database; sslmode, sslrootcert, sslcert and sslkey may stand in its extra. Read only.
    """

    def __init__(
        self,
        branch: Branch,
        connection: Connection,
        limits: Limits | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        connection.need("host", "login", "schema")
        self.branch = branch
        self.bounds = bounds or Bounds()
        self.limits = limits or Limits()
        self.place = f"branch {branch.branch_id} at {connection.host}, database {connection.schema}"
        self._connection = connection
        self._session: _Session | None = None
        self._read_last: tuple[date, int] | None = None

    def manifests(self, wanted: Wanted) -> Iterator[Manifest]:
        """See Source. What ekspor.pengiriman announces, all in one query: each revision of a day is a manifest."""
        announced = self._announced(clock.FIRST_DAY, wanted.until)
        for (day, revision), rows in announced.items():
            stamp = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
            yield Manifest(day, _name(revision), stamp, partial(self._read, day, revision))
        if sum(map(len, announced.values())) >= _MOST_ANNOUNCED:
            raise BranchRefused(
                f"{self.place}: {SCHEMA}.pengiriman has more than {_MOST_ANNOUNCED} rows, the latest were read",
                "have the branch clear away what is old",
            )

    def fetch(self, delivery: Delivery, entry: Entry, target: Path) -> None:
        """Writes the rows of a slice to `target` as JSON lines, in the snapshot in which its delivery was read.

        Numbers and times are spelt as the database spells them; tgl_data and revisi are left out. The order is that of
        the key, then of the place in the table, so that line numbers mean the same each time.
        Raises SliceRejected: FILE_MISSING without such a table, HEADER without tgl_data or revisi in it, UNREADABLE
        when the branch does not let it be read or fails to compute it.
        """
        slice_ = delivery.slice_of(entry)
        if self._read_last != (slice_.business_date, slice_.revision):
            raise ValueError(f"{slice_} is not of the delivery that was read last")
        if entry.rows < 0:
            raise SliceRejected("UNREADABLE", "pengiriman gives no valid jumlah_baris for it")
        # In a savepoint, so that what fails leaves the snapshot to the other slices.
        with self._answering() as session, session.transaction():
            try:
                query = _query(session, slice_.feed)
                with session.cursor(name="kkbc") as cursor, self.bounds.writing(target) as file:
                    cursor.adapters.register_loader("text", _AsBytes)
                    cursor.itersize = _ROWS_AT_ONCE
                    # Another number than announced is ROW_COUNT: how many more there are need not be known.
                    cursor.execute(
                        query, [slice_.business_date, slice_.revision, min(2 * entry.rows + _ROWS_AT_ONCE, 2**62)]
                    )
                    for (row,) in cursor:
                        if row is None:
                            raise SliceRejected("UNREADABLE", f"a row has more than {_ROW_BYTES} bytes")
                        # Columns of type json may hold line breaks: in JSON they are nothing but blanks.
                        file.write(row.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
            except errors.InsufficientPrivilege:
                raise SliceRejected("UNREADABLE", f"{SCHEMA}.{slice_.feed} is there and may not be read") from None
            except psycopg.Error as error:
                if not _is_of_the_query(error, session):
                    raise
                problem = f"{SCHEMA}.{slice_.feed} cannot be read ({type(error).__name__})"
                raise SliceRejected("UNREADABLE", problem) from None

    def close(self) -> None:
        """See Source."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _read(self, day: date, revision: int | None) -> Delivery:
        """The delivery as announced in the snapshot that begins here, and in which its slices are fetched."""
        if revision is None:
            return refused_manifest(self.branch.branch_id, day, _name(revision), NOT_TAKEN)
        rows = self._announced(day, day, keep=True).get((day, revision), [])
        self._read_last = (day, revision)
        return judge_rows(rows, Place(self.branch.branch_id, day, _name(revision), self.branch.zone, revision))

    def _announced(
        self, since: date, until: date, *, keep: bool = False
    ) -> dict[tuple[date, int | None], list[dict[str, Any]]]:
        """The rows of ekspor.pengiriman by day and revision, None for what is no revision, in a new snapshot.

        The snapshot ends at once unless it is to be kept.
        """
        announced: dict[tuple[date, int | None], list[dict[str, Any]]] = {}
        with self._answering() as session:
            session.rollback()
            try:
                found = session.execute(_PENGIRIMAN, [since, until, _MOST_ANNOUNCED]).fetchall()
            except psycopg.Error as error:
                if not _is_of_the_query(error, session):
                    raise
                raise BranchRefused(
                    f"{self.place}: {SCHEMA}.pengiriman cannot be read ({type(error).__name__})",
                    "have the branch make it as the exchange says, and permit it to the login of the connection",
                ) from None
            if not keep:
                session.rollback()
        for day, revision, row in reversed(found):
            is_valid = isinstance(revision, int) and not isinstance(revision, bool) and 1 <= revision <= MAX_REVISION
            announced.setdefault((day, revision if is_valid else None), []).append(row)
        return announced

    @contextmanager
    def _answering(self) -> Iterator["_Session"]:
        """A session for the block; what becomes of the connection in it is reported in words of ours."""
        self.bounds.deadline.check(self.place)
        if self._session is None:
            self._session = self._connect()
        try:
            yield self._session
        except (errors.QueryCanceled, errors.LockNotAvailable, _Silent):
            self.bounds.deadline.check(self.place)
            raise BranchTimeout(f"{self.place} does not answer in {self.limits.statement:g} s") from None
        except psycopg.Error as error:
            raise BranchUnavailable(f"{self.place} broke off ({type(error).__name__})") from None

    def _connect(self) -> "_Session":
        named, limits = self._connection, self.limits
        try:
            conninfo = make_conninfo(
                host=named.host,
                port=named.port or 5432,
                user=named.login,
                password=named.password or None,
                dbname=named.schema,
                connect_timeout=max(1, round(self.bounds.deadline.within(limits.connect).left)),
                client_encoding="UTF8",
                application_name="kkbc",
                **{name: str(value) for name, value in named.extra.items() if name in _TLS},
            )
            # Without prepared statements, which a pooler in between may not know.
            session = _Session.connect(conninfo, autocommit=True, prepare_threshold=None)
        except errors.ConnectionTimeout:
            raise BranchTimeout(f"{self.place} does not answer in {limits.connect:g} s") from None
        except psycopg.Error as error:  # whose text names the login
            if not isinstance(error, psycopg.OperationalError) or any(words in str(error) for words in _REFUSALS):
                raise BranchRefused(
                    f"{self.place} does not let the login of Airflow connection {named.conn_id!r} in",
                    "check its login, password, database and TLS, and what the branch permits",
                ) from None
            raise BranchUnavailable(f"{self.place} cannot be reached") from None
        self._session = session
        session.seconds = limits.statement + limits.grace
        session.deadline = self.bounds.deadline
        with self._answering():
            session.execute(
                _SETTINGS, [self.branch.timezone, *map(_milliseconds, (limits.statement, limits.lock, limits.idle))]
            )
            session.autocommit = False
            session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            session.read_only = True
        return session


class _Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which no answer is waited for longer than `seconds`, nor beyond the visit's `deadline`, even from
    a server that is frozen.
    """

    seconds: float = 60
    deadline: Deadline

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **kwargs: Any) -> _T:
        """See psycopg.Connection.wait. Raises _Silent, and the connection is of no use any more."""
        try:
            seconds = self.deadline.within(self.seconds).left if hasattr(self, "deadline") else self.seconds
            return super().wait(_until(gen, time.monotonic() + seconds), *args, **kwargs)
        except _Silent:
            self.close()
            raise


class _Silent(Exception):
    """The server did not finish an answer in time. No OSError: the driver takes those for its own."""


def _until(gen: Generator[Any, Any, _T], deadline: float) -> Generator[Any, Any, _T]:
    """The driver's exchange with the server `gen`, until it ends or the deadline has passed."""
    try:
        state = next(gen)
        while True:
            ready = yield state
            if time.monotonic() > deadline:
                raise _Silent
            state = gen.send(ready)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


class _AsBytes(Loader):
    """Text as the bytes it came in, for it goes into a file as it is."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def _is_of_the_query(error: psycopg.Error, session: _Session) -> bool:
    """Whether the branch's schema or its rows are to blame, and not the server or the way to it."""
    # A row that no server can put together counts among the errors of operation.
    computed = not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or isinstance(
        error, errors.ProgramLimitExceeded | errors.OutOfMemory
    )
    return computed and not session.broken


def _query(session: _Session, feed: str) -> sql.Composed:
    """One row of JSON text for each row of the table, given tgl_data, revisi and a limit; null for one too long.

    Raises SliceRejected, see fetch.
    """
    table = f"{SCHEMA}.{feed}"
    found = session.execute(_COLUMNS, [SCHEMA, feed]).fetchall()
    if not found:
        raise SliceRejected("FILE_MISSING", f"there is no table {table}")
    lacking = set(_OWN_COLUMNS) - {name for name, *_ in found}
    if lacking:
        raise SliceRejected("HEADER", f"{table} has no column {min(lacking)}")
    types = {name: kind for name, kind, may_be_read, _ in found if may_be_read and name not in _OWN_COLUMNS}
    if not types:
        raise SliceRejected("UNREADABLE", f"{table} is there and may not be read")
    contract = load_contract(feed)
    order = [
        sql.SQL('{}::text collate "C"').format(sql.Identifier("s", column.wire))
        for column in map(contract.column, contract.key)
        if column.wire in types
    ]
    has_places = found[0][3]
    order.append(sql.SQL("s.tableoid, s.ctid" if has_places else 't.line collate "C"'))  # type: ignore[arg-type]
    return sql.SQL(
        "select case when octet_length(t.line) <= {} then t.line end from {} s, lateral (select {}) r,"
        " lateral (select row_to_json(r)::text as line offset 0) t"
        " where s.tgl_data = %s and s.revisi = %s order by {} limit %s"
    ).format(
        sql.Literal(_ROW_BYTES),
        sql.Identifier(SCHEMA, feed),
        sql.SQL(", ").join(_column(name, kind) for name, kind in types.items()),
        sql.SQL(", ").join(order),
    )


def _column(name: str, kind: str) -> sql.Composed:
    """The column as the exchange writes it: a time of day as HH:MM, unless it has seconds to tell of."""
    value = sql.Identifier("s", name)
    if kind != "time without time zone":
        return sql.SQL("{} as {}").format(value, sql.Identifier(name))
    clock = "case when extract(second from {0}) = 0 then to_char({0}, 'HH24:MI') else {0}::text end as {1}"
    return sql.SQL(clock).format(value, sql.Identifier(name))


def _name(revision: int | None) -> str:
    return f"pengiriman r{'?' if revision is None else revision}"


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
