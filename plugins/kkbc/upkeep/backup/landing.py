"""Landing in a backup: a list of its files, and each content once in the store, under its hash."""

import gzip
import io
import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import psycopg

from kkbc.core.errors import UserError
from kkbc.intake.landing import Landing, writing
from kkbc.upkeep.backup.store import File, Store, damaged, hashed, is_missing

LIST = "landing.jsonl.gz"
Progress = Callable[[int, int], None]
_THREADS = 8
# Parts of a slice's folder that are being written: made again, or complete under another name, in the end.
_UNDER_WAY = (["sent.partial"], ["rows.partial"], ["rows.compact"])
_PASSES = 3


@dataclass(frozen=True)
class Entry:
    """A file of landing: its path below the root, its content, and what tells without reading that it is the same."""

    path: str
    bytes: int
    sha256: str
    stamp: str


@dataclass
class Kept:
    """What a backup holds of landing, and how much of it is new in the store."""

    entries: list[Entry]
    new_objects: int = 0
    new_bytes: int = 0


def keep(landing: Landing, store: Store, name: str, previous: Iterable[Entry], progress: Progress) -> tuple[Kept, File]:
    """Brings what landing holds into the store, and its list into the backup `name`.

    `previous` is the list of the backup before: a file that is as it was then is not read again.
    """
    known = {(entry.path, entry.stamp): entry for entry in previous}
    stored = store.objects()
    kept, lock = Kept([]), threading.Lock()
    seen: dict[str, Entry] = {}

    def one(item: tuple[str, dict[str, Any]]) -> Entry | None:
        path, about = item
        stamp = _stamp(about)
        relative = _relative(landing, path)
        before = known.get((relative, stamp))
        if before is not None and stored.get(before.sha256) == before.bytes:
            return before
        try:
            size, digest, is_new = _store(landing, path, store, stored)
        except OSError as error:
            if is_missing(error):
                return None
            raise UserError(f"{path} cannot be read: {error.strerror or error}", "check the disk, its owner") from error
        with lock:
            if is_new and stored.get(digest) is None:
                stored[digest] = size
                kept.new_objects += 1
                kept.new_bytes += size
        return Entry(relative, size, digest, stamp)

    # What is moved about while it is read, by maintenance say, is found in the next pass under its other name.
    for _ in range(_PASSES):
        found = _files(landing)
        todo = {
            path: about for path, about in found.items() if seen.get(path) is None or seen[path].stamp != _stamp(about)
        }
        seen = {path: entry for path, entry in seen.items() if path in found}
        if not todo:
            break
        with ThreadPoolExecutor(_THREADS) as threads:
            for done, (path, entry) in enumerate(zip(todo, threads.map(one, todo.items()), strict=True), 1):
                progress(done, len(todo))
                if entry is not None:
                    seen[path] = entry
    kept.entries = sorted(seen.values(), key=lambda entry: entry.path)
    return kept, _write_list(store, name, kept.entries)


def entries(store: Store, name: str) -> list[Entry]:
    """The list of a backup. Raises UserError when it is not what was written."""
    path = store.key(name, LIST)
    try:
        lines = gzip.decompress(store.fs.cat_file(path)).decode().splitlines()
        return [Entry(*json.loads(line)) for line in lines]
    except FileNotFoundError as error:
        raise damaged(path, there=False) from error
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise damaged(path) from error


def bring_back(store: Store, wanted: list[Entry], landing: Landing, progress: Progress) -> None:
    """Writes the files of landing; those that are there, of a restore that was interrupted, are not written again.

    Raises UserError naming the content that is not what its name says.
    """

    def one(entry: Entry) -> None:
        target = f"{landing.path}/{entry.path}"
        if _holds(landing, target, entry):
            return
        with writing(landing.root):
            if landing.is_local:
                Path(target).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                partial = Path(f"{target}.partial")
                with partial.open("wb") as file:
                    _copy_object(store, entry, file)
                partial.chmod(0o600)
                partial.replace(target)
            else:
                with landing.fs.open(target, "wb") as file:
                    _copy_object(store, entry, file)

    with ThreadPoolExecutor(_THREADS) as threads:
        for done, _ in enumerate(threads.map(one, wanted), 1):
            progress(done, len(wanted))


def check_objects(store: Store, wanted: Iterable[Entry], progress: Progress) -> list[str]:
    """The paths of contents that are missing or not what their names say; every one is read."""
    digests = sorted({entry.sha256 for entry in wanted})

    def one(digest: str) -> str | None:
        path = store.object_key(digest)
        try:
            with store.fs.open(path, "rb") as file:
                return None if hashed(file) == digest else path
        except OSError:
            return path

    bad = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for done, path in enumerate(threads.map(one, digests), 1):
            progress(done, len(digests))
            if path is not None:
                bad.append(path)
    return bad


def slices_without_bytes(conn: psycopg.Connection, landing: Landing, present: Iterable[str]) -> list[str]:
    """The slices in force or held whose file as sent is not among the paths `present`."""
    folders = {path.rpartition("/sent/")[0] for path in present if "/sent/" in path}
    rows = conn.execute(
        "select feed || ' ' || branch_id || ' ' || business_date || ' r' || revision, landed_uri from ops.slice"
        " where status in ('loaded', 'held') and landed_uri is not null order by 1"
    ).fetchall()
    root = landing.path.rstrip("/") + "/"
    return [what for what, uri in rows if str(landing.fs._strip_protocol(uri)).removeprefix(root) not in folders]


def present(landing: Landing) -> list[str]:
    """The paths of landing's files, below its root."""
    return [_relative(landing, path) for path in _files(landing)]


def prune(store: Store, keep_newest: int) -> list[str]:
    """Removes all but the newest backups, and the contents that none of those left needs; returns what went."""
    names = store.names()
    gone = names[:-keep_newest]
    for name in gone:
        store.remove(name)
    if gone:
        needed = {entry.sha256 for name in store.names() for entry in entries(store, name)}
        for digest in store.objects().keys() - needed:
            store.fs.rm_file(store.object_key(digest))
    return gone


def _files(landing: Landing) -> dict[str, dict[str, Any]]:
    landing.fs.invalidate_cache()
    found = landing.fs.find(landing.path, detail=True)
    return {path: found[path] for path in found if _relative(landing, path).split("/")[4:5] not in _UNDER_WAY}


def _relative(landing: Landing, path: str) -> str:
    return path[len(landing.path.rstrip("/")) + 1 :]


def _stamp(about: dict[str, Any]) -> str:
    return f"{about['size']} {about.get('ETag') or about.get('mtime') or about.get('LastModified')}"


def _store(landing: Landing, path: str, store: Store, stored: dict[str, int]) -> tuple[int, str, bool]:
    """Size and hash of a file, and whether its content had to be written. It is read twice then."""
    with landing.fs.open(path, "rb") as file:
        digest = hashed(file)
        size = file.tell()
    if stored.get(digest) == size:
        return size, digest, False
    with landing.fs.open(path, "rb") as file, store.new_file(store.object_key(digest)) as target:
        if hashed(file, target) != digest:
            raise FileNotFoundError(path)  # another file took its place; the next pass reads that one
    return size, digest, True


def _write_list(store: Store, name: str, listed: list[Entry]) -> File:
    text = "".join(json.dumps(astuple(entry)) + "\n" for entry in listed)
    content = gzip.compress(text.encode(), mtime=0)
    with store.new_file(store.key(name, LIST)) as file:
        file.write(content)
    return File(bytes=len(content), sha256=hashed(io.BytesIO(content)))


def _holds(landing: Landing, path: str, entry: Entry) -> bool:
    try:
        if landing.fs.info(path)["size"] != entry.bytes:
            return False
        with landing.fs.open(path, "rb") as file:
            return hashed(file) == entry.sha256
    except FileNotFoundError:
        return False


def _copy_object(store: Store, entry: Entry, target: Any) -> None:
    path = store.object_key(entry.sha256)
    try:
        with store.fs.open(path, "rb") as file:
            if hashed(file, target) != entry.sha256:
                raise damaged(path)
    except FileNotFoundError as error:
        raise damaged(path, there=False) from error
