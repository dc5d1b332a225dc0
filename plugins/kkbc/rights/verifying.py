"""Verifying: every byte that the platform stores is read, and nothing of some persons is found.

Read are all files of the home, landing unfolded; all tables, by SQL; and of the embedded server the bytes of its data
folder: tables, indexes, what is stored out of line, the log ahead of the tables (WAL) and temporary files.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import psycopg

from kkbc.core.errors import UserError
from kkbc.core.needles import Needles, bytes_of, in_stream
from kkbc.core.settings import get_settings
from kkbc.rights.searching import Place, Tally, databases, holding, in_home_file, in_table, shown, tables_of
from kkbc.rights.wanted import Wanted
from kkbc.warehouse import connect, server
from kkbc.warehouse.access_record import note_access
from kkbc.warehouse.kept import check_key

Progress = Callable[[int, int], None]
_REMOTE_BLOCK = 8 * 2**20


@dataclass
class Verified:
    """What was read and where something was found; `value` of a place is the number of a value, NIKs first.

    not_read: what could not be read here, and who can.
    """

    tally: Tally = field(default_factory=Tally)
    server_files: int = 0
    server_bytes: int = 0
    places: list[Place] = field(default_factory=list)
    not_read: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            **asdict(self.tally),
            "server_files": self.server_files,
            "server_bytes": self.server_bytes,
            "places": [place.as_json() for place in self.places],
            "not_read": self.not_read,
        }


def verify(wanted: Wanted, *, why: str, who: str, progress: Progress = lambda done, total: None) -> Verified:
    """Searches all that is stored for the persons: their NIKs, their tokens, and the values that were given with them.

    What an erasure found out about them besides is forgotten with it. Raises UserError for what cannot be read.
    """
    with connect() as conn:
        check_key(conn)
        needles = Needles([*wanted.niks, *wanted.values, *wanted.participant_tokens(conn)])
    note_access("verify erasure", done_by=who, why=why, subjects=wanted.subjects, role=None)
    return search_all(needles, progress)


def search_all(needles: Needles, progress: Progress, *, but_for: Path | None = None) -> Verified:
    """Reads everything for the values of `needles`; `but_for`: a file that is passed over."""
    found = Verified()
    files = [path for path in _files() if path != but_for]
    remote = list(_remote())
    raw = list(_server_files(found))
    with databases() as opened:
        tables = [(name, conn, table) for name, conn in opened for table in tables_of(conn, protected=True)]
        total = len(files) + len(remote) + len(raw) + len(tables)
        done = 0
        for path, hits in holding(files, needles):
            progress(done, total)
            found.places += [Place(shown(path, needles), value, count) for value, count in sorted(hits.items())]
            found.tally.files += 1
            found.tally.file_bytes += path.stat().st_size if path.exists() else 0
            done += 1
        for fs, path_there in remote:
            progress(done, total)
            _look_remote(found, needles, fs, path_there)
            done += 1
        for name, conn, table in tables:
            progress(done, total)
            found.places += in_table(name, conn, table, needles, found.tally)
            found.tally.tables += 1
            done += 1
        _flush(opened[0][1])
        for path in raw:
            progress(done, total)
            _look_raw(found, needles, path)
            done += 1
        progress(total, total)
    return found


def _look_remote(found: Verified, needles: Needles, fs: Any, path: str) -> None:
    """A landed file that lies elsewhere is fetched, for what is packed is unfolded from a file."""
    from kkbc.core.spool import spool_folder

    with spool_folder("verified") as folder:
        here = folder / "file"
        fs.get_file(path, str(here))
        hits = needles.count(bytes_of(path)) + in_home_file(here, needles)
        found.places += [Place(needles.hidden(path, "/"), value, count) for value, count in sorted(hits.items())]
        found.tally.files += 1
        found.tally.file_bytes += here.stat().st_size


def _look_raw(found: Verified, needles: Needles, path: Path) -> None:
    try:
        with path.open("rb") as stream:
            hits = in_stream(stream, needles)
        found.server_bytes += path.stat().st_size
    except FileNotFoundError:  # a segment or a table that went meanwhile
        return
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "run as the owner of the home") from None
    found.server_files += 1
    found.places += [Place(_relation_of(path), value, count) for value, count in sorted(hits.items())]


def _files() -> Iterator[Path]:
    """Every file of the home but those of the server, and those of landing where it lies elsewhere on this machine."""
    settings = get_settings()
    home = settings.home.resolve()
    # What branches put down is theirs, and what a server writes is read as bytes.
    left_out = {home / "pg", home / "socket", home / "world", home / "keys"}
    if settings.source_root:
        left_out.add(Path(settings.source_root).resolve())
    roots = [home]
    if "://" not in settings.landing and not Path(settings.landing).resolve().is_relative_to(home):
        roots.append(Path(settings.landing).resolve())
    for root in roots:
        for folder, names, files in os.walk(root, followlinks=False):
            here = Path(folder)
            names[:] = [name for name in names if here / name not in left_out]
            yield from (here / name for name in files if (here / name).is_file() and not (here / name).is_symlink())


def _remote() -> Iterator[tuple[Any, str]]:
    landing = get_settings().landing
    if "://" in landing:
        fs, path = fsspec.core.url_to_fs(landing)
        yield from ((fs, there) for there in fs.find(path))


def _server_files(found: Verified) -> Iterator[Path]:
    """The files of the embedded server; of another one nothing but what SQL shows can be read from here."""
    settings = get_settings()
    if settings.database_url or server.find(settings.home) is None:
        found.not_read.append(
            "files and WAL of the database server: its administrator can search them, see docs/security.md"
        )
        return
    for folder, _, files in os.walk(settings.home / "pg", followlinks=False):
        yield from (Path(folder) / name for name in files)


def _flush(conn: psycopg.Connection) -> None:
    """What the server holds in memory is written, so that its files are what it has."""
    try:
        conn.execute("checkpoint")
    except psycopg.errors.InsufficientPrivilege:
        return
    except psycopg.errors.InternalError as error:
        raise UserError(
            "the server cannot write what it holds, see its log", "free disk space of the warehouse, then do it again"
        ) from error


def _relation_of(path: Path) -> str:
    """The table or index that a file of the server belongs to, where it is one of the warehouse."""
    place = str(path.relative_to(get_settings().home))
    number = path.name.partition(".")[0].partition("_")[0]
    if path.parent.parent.name == "base" and number.isdecimal():
        with connect() as conn:
            row = conn.execute(
                "select c.oid::regclass::text from pg_class c join pg_database d on d.datname = current_database()"
                " where pg_relation_filenode(c.oid) = %s and d.oid = %s",
                [int(number), int(path.parent.name)],
            ).fetchone()
        if row is not None:
            return f"{place} ({row[0]})"
    return place
