"""Searching: where the values of a person stand in an installation, in whatever form; see docs/security.md.

Every file of the home and every table of its databases is searched, in one pass for all forms of all values. What is
found is reported by place and number of the value, never by the value. Landing and vault are where persons belong.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from kkbc.core import encryption, local_airflow
from kkbc.core.errors import UserError
from kkbc.core.needles import BLOCK, Needles, bytes_of, in_file
from kkbc.core.settings import get_settings
from kkbc.intake.landing import Landing
from kkbc.warehouse import connect

_SYSTEM_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast")

Progress = Callable[[int, int], None]


@dataclass
class Tally:
    """What was read."""

    files: int = 0
    file_bytes: int = 0
    tables: int = 0
    table_bytes: int = 0


@dataclass(frozen=True)
class Place:
    """A file, or a column of a table, that holds the `value`th value (from 1), and how often.

    protected: in landing or vault, where persons belong.
    """

    place: str
    value: int
    count: int
    protected: bool = False

    def as_json(self) -> dict[str, Any]:
        """The place as JSON values."""
        return asdict(self)


def search(
    values: Sequence[str], progress: Progress = lambda done, total: None, *, protected: bool = False
) -> list[Place]:
    """Where the values stand in the home and in the databases, landing and vault left out unless `protected`.

    Names of folders, files, tables and columns are searched as well, and hidden where they hold a value.
    `progress` is called with the parts done and in all. Raises UserError for values that cannot be looked for and for
    a database that cannot be read.
    """
    needles = Needles(values)
    files = list(_files(protected))
    with databases() as opened:
        tables = [(name, conn, table) for name, conn in opened for table in tables_of(conn, protected)]
        total, places = len(files) + len(tables), []
        protected_files = dict(files)
        for done, (path, found) in enumerate(holding(protected_files, needles)):
            progress(done, total)
            belongs = protected_files[path]
            places += [Place(shown(path, needles), value, n, belongs) for value, n in sorted(found.items())]
        for done, (name, conn, table) in enumerate(tables, start=len(files)):
            progress(done, total)
            places += in_table(name, conn, table, needles)
        progress(total, total)
    return places


# --- files -----------------------------------------------------------------------------------------------------------
def _files(protected: bool) -> Iterator[tuple[Path, bool]]:
    """Every file of the home but those of the embedded server, which is asked by SQL, and of visits under way.

    With `protected` those of landing too, also where it lies elsewhere on this machine.
    """
    settings = get_settings()
    home = settings.home.resolve()
    landing = Path(settings.landing).resolve() if "://" not in settings.landing else None
    left_out = {home / "spool", home / "pg", home / "socket"}
    if settings.source_root:
        left_out.add(Path(settings.source_root).resolve())  # what branches put down is theirs
    left_out.add(home / "world")  # as are played branches
    roots = [home]
    if protected and landing is not None and not landing.is_relative_to(home):
        roots.append(landing)
    for root in roots:
        for folder, names, files in os.walk(root, followlinks=False):
            here = Path(folder)
            belongs = landing is not None and here.is_relative_to(landing)
            names[:] = [n for n in names if here / n not in left_out and (protected or here / n != landing)]
            for name in files:
                path = here / name
                if path.is_file() and not path.is_symlink():
                    yield path, belongs
    if (home / "pg" / "server.log").is_file():
        yield home / "pg" / "server.log", False


def in_home_file(path: Path, needles: Needles) -> Counter[int]:
    """What is found in a file; nothing in one that is gone. Raises UserError for one that cannot be read."""
    try:
        with _clear(path, needles) as readable:
            return in_file(readable, needles)
    except FileNotFoundError:  # of a process that went on meanwhile
        return Counter()
    except OSError as error:
        problem = f"{shown(path, needles)} cannot be read: {error.strerror or type(error).__name__}"
        raise UserError(problem, "run as the owner of the home") from None  # the cause names the file


def holding(paths: Iterable[Path], needles: Needles) -> Iterator[tuple[Path, Counter[int]]]:
    """Each file, with what is found in it and in its path. Raises UserError for one that cannot be read."""
    for path in paths:
        yield path, needles.count(bytes_of(str(path))) + in_home_file(path, needles)


@contextmanager
def _clear(path: Path, needles: Needles) -> Iterator[Path]:
    """The file to be read: itself, or, of encrypted landing, a copy in the clear for the length of a block."""
    if encryption.is_encrypted(path):
        with Landing(get_settings().landing).decrypted(path, shown(path, needles)) as clear:
            yield clear
    else:
        yield path


def shown(path: Path, needles: Needles) -> str:
    """A path, with *** for what a value stands in."""
    return bytes_of(needles.hidden(str(path), os.sep)).decode("utf-8", "backslashreplace")


# --- databases -------------------------------------------------------------------------------------------------------
@contextmanager
def databases() -> Iterator[list[tuple[str, psycopg.Connection]]]:
    """The warehouse and, where this home has one, Airflow's metadata, each by a connection that may read all of it."""
    with ExitStack() as stack:
        opened = [("warehouse", stack.enter_context(connect(autocommit=True)))]
        uri = local_airflow.metadata_uri(get_settings())
        if uri is not None:
            try:
                conn = psycopg.connect(uri, autocommit=True, connect_timeout=10)
            except psycopg.OperationalError as error:
                raise UserError("Airflow's database cannot be reached", "`make up` starts it") from error
            opened.append(("airflow", stack.enter_context(conn)))
        yield opened


_TABLES = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and not n.nspname = any(%s) and n.nspname not like 'pg\\_%%temp%%'
order by 1, 2
"""

Table = tuple[str, str]
_LARGE_OBJECTS: Table = ("pg_catalog", "pg_largeobject")
_COMMENTS: Table = ("pg_catalog", "pg_description")
_NAMES: Table = ("pg_catalog", "pg_attribute")

_NAMES_QUERY = """
select n.nspname, c.relname, a.attname
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where not n.nspname in ('pg_catalog', 'information_schema', 'pg_toast')
"""


def tables_of(conn: psycopg.Connection, protected: bool) -> list[Table]:
    """Every table of a database, those of vault with `protected` only; large objects, comments and names too."""
    rows = conn.execute(_TABLES, [list(_SYSTEM_SCHEMAS)]).fetchall()
    return [
        *(table for table in ((row[0], row[1]) for row in rows) if protected or table[0] != "vault"),
        _LARGE_OBJECTS,
        _COMMENTS,
        _NAMES,
    ]


def in_table(
    database: str, conn: psycopg.Connection, table: Table, needles: Needles, tally: Tally | None = None
) -> list[Place]:
    """The columns that hold something. All of a table is read first, and its columns only when there is something."""
    name, label = sql.Identifier(*table), ".".join(table)
    try:
        if table == _LARGE_OBJECTS:
            # Whole objects: a value may stand across two of the pages that they are kept in.
            objects = sql.SQL("(select lo_get(oid) as data from pg_largeobject_metadata)")
            found = found_in_query(conn, sql.SQL("select data from {} as o").format(objects), needles)
            return [Place(f"{database}: large objects", value, count) for value, count in sorted(found.items())]
        if table == _NAMES:
            found = found_in_query(conn, sql.SQL(_NAMES_QUERY), needles)
            return [Place(f"{database}: names of tables and columns", v, count) for v, count in sorted(found.items())]
        columns = [
            column
            for (column,) in conn.execute(
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped",
                [name.as_string(conn)],
            ).fetchall()
        ]
        if not _found_in_rows(conn, name, columns, needles, tally):
            return []
        return [
            Place(f"{database}: {needles.hidden(f'{label}.{column}', '.')}", value, count, table[0] == "vault")
            for column in columns
            for value, count in sorted(_found_in_rows(conn, name, [column], needles).items())
        ]
    except psycopg.errors.UndefinedTable:  # dropped meanwhile
        return []
    except psycopg.errors.InsufficientPrivilege:
        raise UserError(
            f"{database}: {needles.hidden(label, '.')} may not be read", "search as the owner of the database"
        ) from None  # the cause names the table


def _found_in_rows(
    conn: psycopg.Connection, table: sql.Identifier, columns: list[str], needles: Needles, tally: Tally | None = None
) -> Counter[int]:
    """What is found in columns of a table, as text.

    The rows of many pages come as one text: row by row, most of the time would go into handing them over. Not where
    values lie outside the pages: those of many pages could be more than a text holds.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    row = conn.execute(_SIZE, [table.as_string(conn)]).fetchone()
    pages, outside = row or (0, 0)
    if not columns or outside:
        return found_in_query(conn, sql.SQL("select {} from {}").format(names, table), needles, tally)
    found: Counter[int] = Counter()
    texts = sql.SQL("::text, ").join(map(sql.Identifier, columns))
    query = sql.SQL(_PAGES).format(texts, table)
    with conn.transaction(), conn.cursor(binary=True) as cursor:
        # All of one moment, so that no row moves to a page that was read before.
        cursor.execute("set transaction isolation level repeatable read")
        for first in range(0, max(pages, 1), _PAGES_AT_ONCE):
            last = first + _PAGES_AT_ONCE if first + _PAGES_AT_ONCE < pages else _LAST_PAGE
            cursor.execute(query, [f"({first},0)", f"({last},0)"])
            (text,) = cursor.fetchone() or (None,)
            if text:
                found += needles.count(text)
                if tally is not None:
                    tally.table_bytes += len(text)
    return found


_SIZE = """
select pg_relation_size(oid) / current_setting('block_size')::int,
    coalesce(pg_relation_size(nullif(reltoastrelid, 0)), 0)
from pg_class where oid = %s::regclass
"""
_PAGES = """
select convert_to(string_agg(concat_ws(e'\\t', variadic array[{}::text]), e'\\n'), 'UTF8')
from {} where ctid >= %s::tid and ctid < %s::tid
"""
_PAGES_AT_ONCE = 256
_LAST_PAGE = 2**32 - 2


def found_in_query(
    conn: psycopg.Connection, query: sql.Composable, needles: Needles, tally: Tally | None = None
) -> Counter[int]:
    """What is found in the text of a query's rows, as COPY gives it; bytes are hexadecimal there, which is a form."""
    found: Counter[int] = Counter()
    with conn.cursor() as cursor, cursor.copy(sql.SQL("copy ({}) to stdout").format(query)) as copy:
        gathered, size = [], 0
        for row in copy:
            gathered.append(bytes(row))
            size += len(row)
            if tally is not None:
                tally.table_bytes += len(row)
            if size >= BLOCK:
                found += needles.count(b"".join(gathered))
                gathered, size = [], 0
        found += needles.count(b"".join(gathered))
    return found
