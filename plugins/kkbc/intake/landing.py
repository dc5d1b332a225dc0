"""Landing: what branches sent, byte for byte, and the typed and quarantined rows made of it, as Parquet.

One folder a slice and content, `{branch}/{date}/{feed}/r{revision}-{sha256[:12]}/`: the file in `sent/`, the rows made
of it in `rows/`, as `accepted-00000.parquet`, `quarantined-00000.parquet` and so on, a pair for each part of a long
slice. Other content makes another folder, and nothing in it is ever changed but for an erasure, by `replace`: then
`rewritten.json` has the hashes of the file before and after. The root is a folder or any fsspec URI.
"""

import errno
import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
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
from kkbc.intake.rewrites import Journal, Rewritten

_JOURNAL = "rewritten.json"
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
                readable = Path(target)
                readable.parent.mkdir(parents=True, exist_ok=True)
                _move(spooled, readable)
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
                made = sorted(workspace.iterdir())
                earlier = self.fs.glob(f"{target}/*")
                for path in made:
                    self.fs.put_file(str(path), f"{target}/{path.name}")
                names = {path.name for path in made}
                for file in earlier:
                    if file.rpartition("/")[2] not in names:
                        self.fs.rm_file(file)

    def replace(self, landed: Landed, made: Path, lines: Sequence[int] = (), *, emptied: bool = False) -> Landed:
        """Puts the bytes of `made` in the place of the landed file, in one step where landing is local.

        `lines` and `emptied` are noted with the hashes, before anything is changed, see `kkbc.intake.rewrites`. The
        file `made` moves away. The folder keeps its name, which has the digits of the first content.
        """
        digest, size = checksum(made)
        entry = Rewritten(
            landed.uri,
            shown_name(landed.name),
            landed.sha256,
            landed.bytes,
            digest,
            size,
            tuple(lines),
            emptied=emptied,
        )
        self.note(entry)
        target = f"{self._folder(landed.uri)}/sent/{landed.name}"
        readable = made
        with writing(self.root):
            if self.is_local:
                readable = Path(target)
                _move(made, readable)
            else:
                self.fs.put_file(str(made), target)
        return Landed(landed.uri, landed.name, size, digest, readable)

    def note(self, entry: Rewritten) -> None:
        """Adds a rewrite to the journal next to the landed file, or what is known of it more by now."""
        path = f"{self._folder(entry.uri)}/{_JOURNAL}"
        text = self.journal(entry.uri).with_entry(entry).as_json().encode()
        with writing(self.root):
            if self.is_local:
                aside = Path(f"{path}.partial")
                aside.write_bytes(text)
                aside.replace(path)
            else:
                self.fs.pipe_file(path, text)

    def journal(self, uri: str) -> Journal:
        """The rewrites of the file landed in the folder `uri`."""
        try:
            return Journal.of(self.fs.cat_file(f"{self._folder(uri)}/{_JOURNAL}").decode())
        except FileNotFoundError:
            return Journal()

    def recover(self, uri: str) -> None:
        """Clears what a killed attempt left in the folder `uri`; rows that it had put aside come back."""
        if not self.is_local:
            return
        folder = Path(self._folder(uri))
        rows, earlier = folder / "rows", folder / "rows.earlier"
        with writing(self.root):
            if not rows.exists() and earlier.is_dir():
                earlier.rename(rows)
            for left in ("rows.earlier", "rows.partial", "rows.compact"):
                shutil.rmtree(folder / left, ignore_errors=True)
            for left in ("sent.partial", f"{_JOURNAL}.partial"):
                (folder / left).unlink(missing_ok=True)

    def uris(self) -> Iterator[str]:
        """The folders of all slices that were ever landed here and are still there, in their order."""
        for path in sorted(self.fs.glob(f"{self.path}/*/*/*/r*-*")):
            yield self.fs.unstrip_protocol(path)

    def remove(self, landed: Landed) -> None:
        """Takes away what was landed just now, and the rows made of it: there is no room for it."""
        with suppress(OSError):
            self.fs.rm(self._folder(landed.uri), recursive=True)

    def rows(self, uri: str, kind: str) -> Frames:
        """The `accepted` or `quarantined` rows that are kept next to the bytes landed in the folder `uri`."""
        return Frames(self.fs, tuple(sorted(self.fs.glob(f"{self._folder(uri)}/rows/{kind}-*.parquet"))))

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


def _move(spooled: Path, target: Path) -> None:
    """By way of another name, for a move between file systems is a copy, and may be cut off."""
    partial = target.parent.parent / "sent.partial"
    try:
        shutil.move(spooled, partial)
        partial.replace(target)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


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
