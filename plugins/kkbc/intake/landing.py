"""Landing: what branches sent, byte for byte, and the typed and quarantined rows made of it, as Parquet.

One folder a slice and content, `{branch}/{date}/{feed}/r{revision}-{sha256[:12]}/`: the file in `sent/`, the rows made
of it in `rows/`, as `accepted-00000.parquet`, `quarantined-00000.parquet` and so on, a pair for each part of a long
slice. Nothing in it is ever changed: other content makes another folder. The root is a folder or any fsspec URI.
"""

import errno
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import polars as pl

from kkbc.core import disk
from kkbc.core.disk import FULL, NoSpace
from kkbc.core.errors import UserError
from kkbc.core.spool import private_folder, spool_folder
from kkbc.exchange.masking import shown_name
from kkbc.exchange.slices import Slice

_BLOCK = 1 << 20
_SYSTEM_ERROR = re.compile(r"IO error: (.*) \(os error (\d+)\)")  # as Polars tells of a full disk
# What a name may be at fault for, and the place not.
_OF_THE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


@dataclass(frozen=True)
class Landed:
    """The landed bytes of a slice. `uri` is its folder, `readable` a local file with the same bytes."""

    uri: str
    name: str
    bytes: int
    sha256: str
    readable: Path


@dataclass(frozen=True)
class Frames:
    """Rows kept in landing, part by part in the order of the file. They can be gone through any number of times."""

    fs: Any
    paths: tuple[str, ...]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for path in self.paths:
            with self.fs.open(path, "rb") as file:
                frame = pl.read_parquet(file)
            yield frame


class Landing:
    """The landing area under `root`, a folder or an fsspec URI. Raises UserError when it cannot be written."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.fs, self.path = fsspec.core.url_to_fs(root)
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        if self.is_local:
            private_folder(Path(self.path))

    def check_disk(self) -> None:
        """Raises UserError when the disk below is full before anything is written to it, where that can be known."""
        if self.is_local:
            disk.check_disk(Path(self.path), f"landing {self.root}")

    def make_room(self, size: int) -> None:
        """Raises NotKept when `size` more bytes would eat into the reserve of the disk below."""
        if self.is_local:
            disk.make_room(Path(self.path), size)

    def land(self, slice_: Slice, name: str, spooled: Path) -> Landed:
        """Keeps the bytes of `spooled`, delivered as `name`; the spooled file moves away where landing is local.

        Idempotent: the same content of the same slice lands in the same place.
        """
        digest, size = checksum(spooled)
        folder = f"{self.path}/{slice_.branch_id}/{slice_.business_date}/{slice_.feed}/r{slice_.revision}-{digest[:12]}"
        target = f"{folder}/sent/{name}"
        with writing(self.root):
            if self.is_local:
                # By way of another name, for a move between file systems is a copy, and may be cut off.
                partial, readable = Path(folder) / "sent.partial", Path(target)
                readable.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.move(spooled, partial)
                    partial.replace(readable)
                except OSError:
                    partial.unlink(missing_ok=True)
                    raise
            else:
                self.fs.put_file(str(spooled), target)
                readable = spooled
        return Landed(self.fs.unstrip_protocol(folder), name, size, digest, readable)

    @contextmanager
    def open(self, uri: str, name: str | None = None) -> Iterator[Landed]:
        """What was landed in the folder `uri` before, to be read again; a copy of remote bytes goes with the block.

        `name` is that of the file as delivered, or as it is reported (kkbc.exchange.masking); None: the only one there.
        Raises UserError when there is no such file.
        """
        folder = self._folder(uri)
        try:
            names = sorted(path.rpartition("/")[2] for path in self.fs.ls(f"{folder}/sent", detail=False))
        except FileNotFoundError:
            names = []
        found = next((there for there in names if name in (None, there, shown_name(there))), None)
        if found is None:
            raise UserError(f"landing folder {uri} does not hold {name or 'a file'}", "restore landing from its backup")
        if self.is_local:
            yield _landed(uri, found, Path(folder) / "sent" / found)
            return
        with spool_folder("landed") as spool:
            readable = spool / "sent"
            self.fs.get_file(f"{folder}/sent/{found}", str(readable))
            yield _landed(uri, found, readable)

    @contextmanager
    def workspace(self, landed: Landed) -> Iterator[Path]:
        """An empty local folder for the rows being made of `landed`. Whatever is in it when the block ends, goes."""
        if not self.is_local:
            with spool_folder("rows") as spool:
                yield spool
            return
        folder = Path(self._folder(landed.uri)) / "rows.partial"
        with writing(self.root):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, landed: Landed, workspace: Path) -> None:
        """Makes the files of `workspace` the rows of `landed`, in place of any that an earlier attempt made.

        Where landing is local they come in one step: rows that are there are whole.
        """
        target = f"{self._folder(landed.uri)}/rows"
        with writing(self.root):
            if self.is_local:
                earlier = Path(f"{target}.earlier")
                shutil.rmtree(earlier, ignore_errors=True)
                if Path(target).exists():
                    Path(target).rename(earlier)
                workspace.rename(target)
                shutil.rmtree(earlier, ignore_errors=True)
            else:
                if self.fs.exists(target):
                    self.fs.rm(target, recursive=True)
                for path in sorted(workspace.iterdir()):
                    self.fs.put_file(str(path), f"{target}/{path.name}")

    def remove(self, landed: Landed) -> None:
        """Takes away what was landed just now, and the rows made of it: there is no room for it."""
        with suppress(OSError):
            self.fs.rm(self._folder(landed.uri), recursive=True)

    def rows(self, uri: str, kind: str) -> Frames:
        """The `accepted` or `quarantined` rows that are kept next to the bytes landed in the folder `uri`."""
        return Frames(self.fs, tuple(sorted(self.fs.glob(f"{self._folder(uri)}/rows/{kind}-*.parquet"))))

    def folders(self) -> Iterator[str]:
        """The URIs of all that was landed, those of the oldest business dates first."""
        found = (str(path) for path in self.fs.glob(f"{self.path}/*/*/*/r*-*"))
        yield from (self.fs.unstrip_protocol(path) for path in sorted(found, key=lambda path: path.split("/")[-3:]))

    def _folder(self, uri: str) -> str:
        return str(self.fs._strip_protocol(uri))


@contextmanager
def writing(place: object) -> Iterator[None]:
    """Raises UserError, naming `place`, when what the block writes there cannot be written: NoSpace on a full disk."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        if isinstance(error, OSError):
            cause, number = error.strerror, error.errno
        else:
            match = _SYSTEM_ERROR.search(str(error))
            cause, number = (match[1], int(match[2])) if match else (None, None)
        if cause is None or number in _OF_THE_NAME:
            raise
        kind = NoSpace if number in FULL else UserError
        raise kind(f"landing {place} cannot be written: {cause}", "free disk space there") from error


def _landed(uri: str, name: str, readable: Path) -> Landed:
    digest, size = checksum(readable)
    return Landed(uri, name, size, digest, readable)


def checksum(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and length in bytes of a file, read in blocks."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
