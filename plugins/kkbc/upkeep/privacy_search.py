"""Searching: where the values of a person stand in an installation, in whatever form; see docs/security.md.

Every file of the home and every table of its databases is searched, in one pass for all forms of all values. What is
found is reported by place and number of the value, never by the value. Landing and vault are where persons belong.
"""

import base64
import gzip
import html
import io
import json
import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, quote_plus

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core import local_airflow
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.intake.landing import Landing
from kkbc.warehouse import connect

SHORTEST = 5
"""Characters that a value must have at least: of shorter ones, every table holds some by chance."""

BLOCK = 8 * 2**20
# Between the parts of a name or number, however it was typed: these bytes (A0 is the no-break space of Windows-1252 and
# UTF-16), blanks, hyphens and marks without width of Unicode in UTF-8, and blanks as HTML, JSON, Python, COPY and
# percent signs write them.
_SEPARATORS = b" \t\r\n\v\f._-/()+',;|\xa0"
_SPELLED = re.compile(
    rb"\xc2[\xa0\xad]|\xe2\x80[\x80-\x95\xa8\xa9\xaf]|\xe2\x81[\x9f\xa0]|\xe3\x80\x80|\xef\xbb\xbf"
    rb"|&(?:[nN][bB][sS][pP]|#(?:160|32|13|10|9|[xX](?:[aA]0|20|0?[9aAdD])));|<[bB][rR] ?/?>"
    rb"|\\+(?:[nrtvf]|x(?:[aA][0dD]|20|0[9a-dA-D])|u00(?:[aA][0dD]|20|0[9a-dA-D]))"
    rb"|\\+u(?:20(?:0[0-9a-fA-F]|1[0-5]|2[89fF]|5[fF]|60)|3000|[fF][eE][fF][fF])"
    rb"|%(?:[cC]2%[aA]0|20|0[9a-dA-D])"
)
_NUMBER_PREFIXES = ("62", "0")
_HIDDEN = "***"
_SYSTEM_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast")
_UNFOLDED = 2**30  # a member of an archive that unfolds to more is looked at as it lies
_NO_ARCHIVE = (
    *(EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, pl.exceptions.PolarsError),
    RuntimeError,  # of zip: it wants a password, or a way of packing that is not known here
)

Progress = Callable[[int, int], None]


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


class Needles:
    """The forms of some values, looked for all at once. Raises UserError for a value that is too short, and for none.

    Forms: as it is, in lower and upper case and with initials, in UTF-8, Windows-1252 and UTF-16 of both orders; as
    JSON, HTML and Python escape it; in percent signs; in hexadecimal digits; in base64, wherever in a longer text it
    stood; and, in all encodings, without what separates its parts, so that a number in groups, a name with underscores
    and one that is broken over two lines are found too.
    """

    def __init__(self, values: Sequence[str]) -> None:
        if not values:
            raise UserError("there is no value to look for", "write one a line")
        short = [number for number, value in enumerate(values, start=1) if len(value.strip()) < SHORTEST]
        if short:
            raise UserError(
                f"value {short[0]} has fewer than {SHORTEST} characters",
                "give longer ones: a short one is found by chance",
            )
        self._plain: dict[bytes, int] = {}
        self._squeezed: dict[bytes, int] = {}
        for number, value in enumerate(values, start=1):
            for form in _forms(value.strip()):
                self._plain.setdefault(form.lower(), number)
            for text in _cases(_core(value.strip())):
                for encoded in _encoded(text):
                    squeezed = _squeezed(encoded)
                    if len(squeezed) >= SHORTEST:
                        self._squeezed.setdefault(squeezed.lower(), number)
        self.overlap = max(map(len, self._plain)) + 256

    def count(self, block: bytes) -> Counter[int]:
        """How often each value, by number, stands in `block`; at least once, where it stands there at all."""
        # Of what is spelled with a backslash, \t may be a tab, or the beginning of a name in a path of Windows.
        squeezed = (_matches(text, self._squeezed) for text in (_squeezed(block), block.translate(None, _SEPARATORS)))
        found = _matches(block, self._plain)
        for others in squeezed:
            found |= others
        return found

    def hidden(self, name: str, between: str) -> str:
        """A name, of parts with `between` between them, with *** for each part in which a value stands.

        Where a value stands in several parts taken together, it stands for all of these.
        """
        parts = name.split(between)
        for width in range(1, len(parts) + 1):
            for first in range(len(parts) - width + 1):
                if not self.count(_bytes_of(between.join(parts))):
                    return between.join(parts)
                if self.count(_bytes_of(between.join(parts[first : first + width]))):
                    parts[first : first + width] = [_HIDDEN] * width
        return _HIDDEN


def _bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _squeezed(text: bytes) -> bytes:
    """Bytes without separators; of UTF-16 and UTF-32 without zero bytes too: Latin letters are those of UTF-8."""
    return _SPELLED.sub(b"", text.translate(None, b"\0")).translate(None, _SEPARATORS)


def _matches(block: bytes, forms: dict[bytes, int]) -> Counter[int]:
    # Bytes as characters of their own number, for the search is one of text.
    text = pl.Series([block.decode("latin-1")])
    names = [form.decode("latin-1") for form in forms]
    found = text.str.extract_many(names, ascii_case_insensitive=True, overlapping=True)[0]
    return Counter(forms[_ascii_lower(match)] for match in found)


def _ascii_lower(text: str) -> bytes:
    return text.encode("latin-1").lower()


def _core(value: str) -> str:
    """A phone number without what precedes it, by which it is found in every spelling; any other value as it is."""
    bare = re.sub(r"[\s._/()+',;|-]", "", value)
    for prefix in _NUMBER_PREFIXES:
        rest = bare.removeprefix(prefix)
        if rest != bare and rest.isdecimal() and rest.startswith("8"):
            return rest
    return value


def _forms(value: str) -> set[bytes]:
    core = _core(value)
    texts = {form for text in (value, core) for form in _cases(text)}
    forms: set[bytes] = set()
    for text in texts:
        escaped = {
            text,
            json.dumps(text)[1:-1],
            "".join(f"\\u{ord(c):04x}" for c in text if ord(c) < 0x10000),
            html.escape(text),
            text.encode("unicode_escape").decode("ascii"),
            quote(text, safe=""),
            quote_plus(text),
            "".join(f"%{byte:02x}" for byte in text.encode()),
            "".join(f"\\x{byte:02x}" for byte in text.encode()),
        }
        forms |= {form.encode() for form in escaped}
        for plain in _encoded(text):
            forms |= {plain, plain.hex().encode(), *_in_base64(plain)}
    return {form for form in forms if len(form) >= SHORTEST}


def _cases(text: str) -> set[str]:
    return {text, text.lower(), text.upper(), text.title()}


def _encoded(text: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "cp1252"):
        with suppress(UnicodeEncodeError):
            yield text.encode(encoding)


def _in_base64(plain: bytes) -> Iterator[bytes]:
    """What stands for `plain` in base64 whatever precedes and follows it, in both alphabets."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + plain)
        first = -(-before * 8 // 6)  # digits that hold bits of what precedes it
        last = (before + len(plain)) * 8 // 6  # digits that hold none of what follows it
        part = whole[first:last]
        yield part
        yield part.translate(bytes.maketrans(b"+/", b"-_"))


def search(
    values: Sequence[str], progress: Progress = lambda done, total: None, *, protected: bool = False
) -> list[Place]:
    """Where the values stand in the home and in the databases, landing and vault left out unless `protected`.

    Names of folders, files, tables and columns are searched as well, and hidden where they hold a value.
    `progress` is called with the parts done and in all. Raises UserError for values that cannot be looked for and for
    a database that cannot be read.
    """
    needles = Needles(values)
    files, landing = list(_files(protected)), Landing(get_settings().landing) if protected else None
    with _databases() as databases:
        tables = [(name, conn, table) for name, conn in databases for table in _tables(conn, protected)]
        total, places = len(files) + len(tables), []
        for done, (path, label, belongs) in enumerate(files):
            progress(done, total)
            found = needles.count(_bytes_of(label)) + _in_file(path, needles, landing if belongs else None)
            places += [Place(_shown(path, needles), value, n, belongs) for value, n in sorted(found.items())]
        for done, (name, conn, table) in enumerate(tables, start=len(files)):
            progress(done, total)
            places += _in_table(name, conn, table, needles)
        progress(total, total)
    return places


# --- files -----------------------------------------------------------------------------------------------------------
def _files(protected: bool) -> Iterator[tuple[Path, str, bool]]:
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
                    yield path, str(path), belongs
    if (home / "pg" / "server.log").is_file():
        yield home / "pg" / "server.log", str(home / "pg" / "server.log"), False


def _in_file(path: Path, needles: Needles, landing: Landing | None) -> Counter[int]:
    try:
        with landing.decrypted(path, _shown(path, needles)) if landing else nullcontext(path) as clear:
            with clear.open("rb") as file:
                found = _in_stream(file, needles)
            with suppress(*_NO_ARCHIVE):  # cut off, locked, or something else: searched as it lies
                for inner in _unfolded(clear):
                    found += _in_stream(inner, needles)
    except OSError as error:
        if isinstance(error, FileNotFoundError):  # of a process that went on meanwhile
            return Counter()
        problem = f"{_shown(path, needles)} cannot be read: {error.strerror or type(error).__name__}"
        raise UserError(problem, "run as the owner of the home") from None  # the cause names the file
    return found


def _shown(path: Path, needles: Needles) -> str:
    return _bytes_of(needles.hidden(str(path), os.sep)).decode("utf-8", "backslashreplace")


def _in_stream(stream: IO[bytes], needles: Needles) -> Counter[int]:
    """What is found in a stream, block by block; each begins with the end of the one before."""
    found: Counter[int] = Counter()
    before = b""
    while block := stream.read(BLOCK):
        found += needles.count(before + block)
        if before:
            found -= needles.count(before)
        before = (before + block)[-needles.overlap :]
    return found


def _unfolded(path: Path) -> Iterator[IO[bytes]]:
    """What a compressed file holds, of gzip, zip and Parquet; raises one of _NO_ARCHIVE where it is none."""
    with path.open("rb") as file:
        first = file.read(4)
    if first[:2] == b"\x1f\x8b":
        with gzip.open(path) as inner:
            yield inner  # type: ignore[misc]
    elif first == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size <= _UNFOLDED:
                    with archive.open(member) as inner:
                        yield inner
    elif first == b"PAR1":
        yield io.BytesIO(pl.read_parquet(path).write_ndjson().encode())


# --- databases -------------------------------------------------------------------------------------------------------
@contextmanager
def _databases() -> Iterator[list[tuple[str, psycopg.Connection]]]:
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


def _tables(conn: psycopg.Connection, protected: bool) -> list[Table]:
    rows = conn.execute(_TABLES, [list(_SYSTEM_SCHEMAS)]).fetchall()
    return [
        *(table for table in ((row[0], row[1]) for row in rows) if protected or table[0] != "vault"),
        _LARGE_OBJECTS,
        _COMMENTS,
        _NAMES,
    ]


def _in_table(database: str, conn: psycopg.Connection, table: Table, needles: Needles) -> list[Place]:
    """The columns that hold something. All of a table is read first, and its columns only when there is something."""
    name, label = sql.Identifier(*table), ".".join(table)
    try:
        if table == _LARGE_OBJECTS:
            # Whole objects: a value may stand across two of the pages that they are kept in.
            objects = sql.SQL("(select lo_get(oid) as data from pg_largeobject_metadata)")
            found = _in_query(conn, sql.SQL("select data from {} as o").format(objects), needles)
            return [Place(f"{database}: large objects", value, count) for value, count in sorted(found.items())]
        if table == _NAMES:
            found = _in_query(conn, sql.SQL(_NAMES_QUERY), needles)
            return [Place(f"{database}: names of tables and columns", v, count) for v, count in sorted(found.items())]
        if not _in_query(conn, sql.SQL("select * from {}").format(name), needles):
            return []
        columns = conn.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            [name.as_string(conn)],
        ).fetchall()
        return [
            Place(f"{database}: {needles.hidden(f'{label}.{column}', '.')}", value, count, table[0] == "vault")
            for (column,) in columns
            for value, count in sorted(
                _in_query(conn, sql.SQL("select {} from {}").format(sql.Identifier(column), name), needles).items()
            )
        ]
    except psycopg.errors.UndefinedTable:  # dropped meanwhile
        return []
    except psycopg.errors.InsufficientPrivilege:
        raise UserError(
            f"{database}: {needles.hidden(label, '.')} may not be read", "search as the owner of the database"
        ) from None  # the cause names the table


def _in_query(conn: psycopg.Connection, query: sql.Composable, needles: Needles) -> Counter[int]:
    """What is found in the text of a query's rows, as COPY gives it; bytes are hexadecimal there, which is a form."""
    found: Counter[int] = Counter()
    with conn.cursor() as cursor, cursor.copy(sql.SQL("copy ({}) to stdout").format(query)) as copy:
        gathered, size = [], 0
        for row in copy:
            gathered.append(bytes(row))
            size += len(row)
            if size >= BLOCK:
                found += needles.count(b"".join(gathered))
                gathered, size = [], 0
        found += needles.count(b"".join(gathered))
    return found
