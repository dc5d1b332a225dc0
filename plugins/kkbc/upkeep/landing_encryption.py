"""Encryption of landing as it lies: files in the clear are encrypted, data keys are wrapped by another key.

Both go branch by branch, while visits and re-reads of the branch wait. Each file changes in one step, and one that is
as it should be is left alone. So either can be ended at any moment and run again, and nobody reads half a file.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kkbc.core import landing_keys
from kkbc.core.encryption import HEADER_BYTES, Damaged, Header, Keyring, UnknownKey, rewrap
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from kkbc.exchange.masking import shown_name
from kkbc.intake.landing import JOURNAL, Landing, writing
from kkbc.slices import branch_locked
from kkbc.warehouse import connect
from kkbc.warehouse.kept import check_landing_keys, keep_landing_key_ids, landing_key_ids

Progress = Callable[[int, int], None]

PARTIAL = "encrypted.partial"
_BATCH = 500
_LEVELS = 4  # branch, business date, feed, revision and content
_GENERATE = "`openssl rand -hex 32` makes one"


@dataclass
class Standing:
    """What lies in landing: files in the clear, files by the id of the key that they are encrypted under."""

    files: int = 0
    clear: int = 0
    by_key: Counter[str] = field(default_factory=Counter)
    damaged: int = 0

    def add(self, header: "Header | Damaged | None") -> None:
        """Counts one file."""
        self.files += 1
        if header is None:
            self.clear += 1
        elif isinstance(header, Header):
            self.by_key[header.key_id] += 1
        else:
            self.damaged += 1


@dataclass
class Done:
    """What a command came to. `failed` names places of landing that it left as they were, with the reason."""

    files: int = 0
    changed: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        return asdict(self)


def standing(progress: Progress = lambda done, total: None, *, waiting_for: str = "") -> Standing:
    """Looks at the header of every file of landing; with `waiting_for`, which says what for, visits wait meanwhile."""
    landing, found = Landing(get_settings().landing), Standing()
    branches = _branches(landing)
    total = sum(len(_files(landing, branch)) for branch in branches)
    for branch in branches:
        with branch_locked(branch, waiting_for) if waiting_for else nullcontext():
            landing.fs.invalidate_cache()
            for _, header in _headers(landing, _files(landing, branch)):
                found.add(header)
                progress(found.files, max(total, found.files))
    return found


def encrypt(progress: Progress = lambda done, total: None, *, dry_run: bool = False) -> Done:
    """Encrypts the files that lie in landing in the clear.

    Raises UserError when `landing_encryption` is off, for what lands next would be in the clear again, and when a key
    is missing or wrong.
    """
    if not get_settings().landing_encryption:
        raise UserError("landing_encryption is off", "set KKBC_LANDING_ENCRYPTION=true for all that lands from now on")
    if not dry_run:
        _prepare_keys()

    def is_clear(header: Header | Damaged | None, landing: Landing) -> bool:
        return header is None

    return _go_through("encryption of landing", is_clear, _size if dry_run else _encrypt, progress)


def rotate(progress: Progress = lambda done, total: None, *, dry_run: bool = False) -> Done:
    """Has the data keys of all encrypted files wrapped by the first key; their content stays as it is.

    Where the key file holds one key, a new one is made and put first; where it holds several, a rotation goes on. Keys
    that are elsewhere are put first by whoever keeps them. Files are read under either key meanwhile.
    Raises UserError when there is no other key, and when one is missing or wrong.
    """
    keys = _keys()
    if len(keys.keys) == 1 and not landing_keys.in_file():
        raise UserError(
            f"{landing_keys.place()} holds one key", f"put a new one before it, with a comma between; {_GENERATE}"
        )
    begins = len(keys.keys) == 1
    if not dry_run:
        with connect("loader") as conn:
            check_landing_keys(conn)
            if begins:
                keys = landing_keys.begin_rotation()
            keep_landing_key_ids(conn, list(dict.fromkeys([*landing_key_ids(conn), *keys.ids])))

    def is_under_another(header: Header | Damaged | None, landing: Landing) -> bool:
        earlier = header is not None and (isinstance(header, Damaged) or header.key_id != landing.keys.first.id)
        return earlier or (header is not None and dry_run and begins)

    change = _size_of_rewrap if dry_run else _rewrap
    done = _go_through("rotation of landing's key", is_under_another, change, progress)
    if not dry_run:
        os.sync()  # once for all files, before anybody takes the earlier key away
    return done


def drop(progress: Progress = lambda done, total: None) -> tuple[str, ...]:
    """Takes the keys that no file needs any more out of the key file, all but the first; returns their ids.

    Keys that are elsewhere are left to whoever keeps them. Raises UserError while a file needs one.
    """
    keys, found = _keys(), standing(progress, waiting_for="a look at the keys of landing")
    needed = [key_id for key_id in found.by_key if key_id != keys.first.id]
    if needed:
        count = sum(found.by_key[key_id] for key_id in needed)
        remedy = "`kkbc landing rotate-key`" if set(needed) <= set(keys.ids) else landing_keys.RESTORE
        raise UserError(f"{count} files of landing are encrypted under the key {needed[0]}", remedy)
    os.sync()  # a rotation that was killed did not
    with connect("loader") as conn:
        dropped = [key_id for key_id in landing_key_ids(conn) if key_id not in keys.ids]
        keep_landing_key_ids(conn, [keys.first.id])
    if landing_keys.in_file():
        landing_keys.end_rotation(keys)
    return (*keys.ids[1:], *dropped)


def _keys() -> Keyring:
    """The keys. Raises UserError when there are none, and says so where there never were any."""
    with connect("loader") as conn:
        never = not landing_key_ids(conn)
    if never and landing_keys.in_file() and not landing_keys.key_file().exists():
        raise UserError("landing was never encrypted", "`kkbc landing encrypt` does it")
    return landing_keys.load()


def _prepare_keys() -> None:
    with connect("loader") as conn:
        if not landing_key_ids(conn):
            landing_keys.ensure()
        check_landing_keys(conn)


def _go_through(
    what: str,
    is_chosen: Callable[[Header | Damaged | None, Landing], bool],
    change: Callable[[Landing, str], int],
    progress: Progress,
) -> Done:
    """Changes the files whose headers are chosen, branch by branch; `change` returns the bytes that it writes."""
    landing, done = Landing(get_settings().landing), Done()
    branches = _branches(landing)
    total = sum(len(_files(landing, branch)) for branch in branches)
    for branch in branches:
        with branch_locked(branch, what):
            # Anew under the lock: what is written to this branch from here on is written under these keys.
            landing = Landing(get_settings().landing)
            landing.fs.invalidate_cache()
            for path, header in _headers(landing, _files(landing, branch)):
                done.files += 1
                progress(done.files, max(total, done.files))
                if not is_chosen(header, landing):
                    continue
                try:
                    with writing(landing.root):
                        done.bytes += change(landing, path)
                    done.changed += 1
                except (Damaged, UnknownKey) as error:
                    reason = str(error) if isinstance(error, Damaged) else f"its key {error} is not there"
                    done.failed[_folder(landing, path)] = reason
    return done


def _size(landing: Landing, path: str) -> int:
    return int(landing.fs.size(path))


def _size_of_rewrap(landing: Landing, path: str) -> int:
    return HEADER_BYTES if landing.is_local else _size(landing, path)


def _encrypt(landing: Landing, path: str) -> int:
    """Encrypts one file; returns its bytes. One of a person's name gets another (Exchange rule 39)."""
    folder, _, name = path.rpartition("/")
    target = f"{folder}/{shown_name(name)}" if folder.endswith("/sent") else path
    if landing.is_local:
        source, partial = Path(path), Path(_folder(landing, path)) / PARTIAL
        try:
            landing.place(source, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())  # it takes the place of the only copy
            shutil.copystat(source, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    else:
        with spool_folder("encrypt") as spool:
            copy = spool / "content"
            landing.fs.get_file(path, str(copy))
            landing.put(copy, target)
    size = _size(landing, target)
    if target != path:
        landing.fs.rm_file(path)
    return size


def _rewrap(landing: Landing, path: str) -> int:
    """Has the data key of one file wrapped by the first key; returns the bytes that were written."""
    if landing.is_local:
        rewrap(Path(path), landing.keys)
        return HEADER_BYTES
    with spool_folder("rewrap") as spool:
        copy = spool / "content"
        landing.fs.get_file(path, str(copy))
        rewrap(copy, landing.keys)
        landing.fs.put_file(str(copy), path)
        return copy.stat().st_size


def _branches(landing: Landing) -> list[str]:
    try:
        return sorted(path.rpartition("/")[2] for path in landing.fs.ls(landing.path, detail=False))
    except FileNotFoundError:
        return []


def _files(landing: Landing, branch: str) -> dict[str, int]:
    """The files of a branch that hold its rows, with their bytes."""
    found = landing.fs.find(f"{landing.path}/{branch}", detail=True)
    others = (PARTIAL, JOURNAL, f"{JOURNAL}.partial")
    return {path: info["size"] for path, info in sorted(found.items()) if path.rpartition("/")[2] not in others}


def _headers(landing: Landing, files: dict[str, int]) -> Iterator[tuple[str, Header | Damaged | None]]:
    """The header of each file, None where it is in the clear. What went meanwhile is left out."""
    paths = list(files)
    for first in range(0, len(paths), _BATCH):
        batch = paths[first : first + _BATCH]
        some = [path for path in batch if files[path]]  # object stores give no range of an empty object
        starts = dict(zip(some, landing.fs.cat_ranges(some, 0, HEADER_BYTES, on_error="return"), strict=True))
        for path in batch:
            start = starts.get(path, b"")
            if isinstance(start, FileNotFoundError):
                continue
            if isinstance(start, Exception):
                raise UserError(f"landing {_folder(landing, path)} cannot be read: {type(start).__name__}", "see to it")
            try:
                yield path, Header.parse(start)
            except Damaged as error:
                yield path, error


def _folder(landing: Landing, path: str) -> str:
    """The folder of the slice that a file belongs to: names of files may be persons'."""
    parts = path[len(landing.path) :].strip("/").split("/")
    return "/".join([landing.path.rstrip("/"), *parts[: min(_LEVELS, len(parts) - 1)]])
