"""Landing: what branches sent, byte for byte, and the typed and quarantined rows made of it, as Parquet.

One folder a slice and content, `{branch}/{date}/{feed}/r{revision}-{sha256[:12]}/`: the file in `sent/`, the rows made
of it in `rows/`, as `accepted-00000.parquet`, `quarantined-00000.parquet` and so on, a pair for each part of a long
slice. Other content makes another folder, and nothing in it is ever changed but for an erasure, by `replace`: then
`rewritten.json` has the hashes of the file before and after. The root is a folder or any fsspec URI.

Files are encrypted where `landing_encryption` says so (kkbc.core.encryption). Each tells by its first bytes whether it
is, so that both kinds are read alike. What is decrypted lies in memory or in the spool, never in landing.
"""

import errno
import hashlib
import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import fsspec
import polars as pl

from kkbc.core import disk, encryption, landing_keys
from kkbc.core.disk import FULL, NoSpace, NotKept, cause_of
from kkbc.core.encryption import Damaged, Keyring, UnknownKey
from kkbc.core.errors import NotLanded, UserError
from kkbc.core.settings import get_settings
from kkbc.core.spool import private_folder, spool_folder
from kkbc.exchange.masking import shown_name
from kkbc.exchange.slices import Slice
from kkbc.intake.rewrites import Journal, Rewritten

JOURNAL = "rewritten.json"
"""Next to a landed file: its rewrites. It names no person, and is never encrypted."""
RESTORE = "restore landing from its backup"

_BLOCK = 1 << 20
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

    landing: "Landing"
    paths: tuple[str, ...]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for path in self.paths:
            with self.landing.fs.open(path, "rb") as file:
                content = self._decrypted(file, path)
                try:
                    frame = pl.read_parquet(content)
                except pl.exceptions.PolarsError:  # whose text may hold a value
                    raise DamagedFile(f"landing {path} cannot be read", RESTORE) from None
            yield frame

    def _decrypted(self, file: BinaryIO, path: str) -> BinaryIO:
        start = file.read(len(encryption.MAGIC))
        file.seek(0)
        if start != encryption.MAGIC:
            return file
        content = io.BytesIO()
        with decrypting(path):
            encryption.decrypt(file, content, self.landing.keys)
        content.seek(0)
        return content


class Landing:
    """The landing area under `root`, a folder or an fsspec URI. Raises UserError when it cannot be written."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.fs, self.path = fsspec.core.url_to_fs(root)
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        if self.is_local:
            private_folder(Path(self.path))
        self.encrypts = get_settings().landing_encryption

    @cached_property
    def keys(self) -> Keyring:
        """The keys that files are encrypted under. Raises UserError, as kkbc.core.landing_keys.load does."""
        return landing_keys.load()

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
        if self.encrypts:
            target = f"{folder}/sent/{shown_name(name)}"  # of names too, a branch may make a person's
        elif encryption.is_encrypted(spooled):
            raise NotKept("it begins as the encrypted files of landing do")
        else:
            target = f"{folder}/sent/{name}"
        with writing(self.root):
            if self.is_local:
                place = Path(target)
                place.parent.mkdir(parents=True, exist_ok=True)
                self._place_whole(spooled, place)
            else:
                self.put(spooled, target)
        readable = Path(target) if self.is_local and not self.encrypts else spooled
        return Landed(self.fs.unstrip_protocol(folder), name, size, digest, readable)

    @contextmanager
    def open(self, uri: str, name: str | None = None) -> Iterator[Landed]:
        """What was landed in the folder `uri` before, to be read again; a copy of remote bytes goes with the block.

        `name` is that of the file as delivered, or as it is reported (kkbc.exchange.masking); None: the only one there.
        Raises UserError when there is no such file.
        """
        folder = self._folder(uri)
        found = self._name_of(folder, name)
        if self.is_local:
            with self.decrypted(Path(folder) / "sent" / found, uri) as readable:
                yield _landed(uri, found, readable)
            return
        with spool_folder("landed") as spool:
            copy = spool / "sent"
            self.fs.get_file(f"{folder}/sent/{found}", str(copy))
            with self.decrypted(copy, uri) as readable:
                yield _landed(uri, found, readable)

    @contextmanager
    def workspace(self, landed: Landed) -> Iterator[Path]:
        """An empty local folder for the rows being made of `landed`. Whatever is in it when the block ends, goes."""
        if self.encrypts or not self.is_local:
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
                made = self._encrypted_folder(workspace, Path(f"{target}.partial")) if self.encrypts else workspace
                earlier = Path(f"{target}.earlier")
                shutil.rmtree(earlier, ignore_errors=True)
                if Path(target).exists():
                    Path(target).rename(earlier)
                made.rename(target)
                shutil.rmtree(earlier, ignore_errors=True)
            else:
                files = sorted(workspace.iterdir())
                before = self.fs.glob(f"{target}/*")
                for path in files:
                    self.put(path, f"{target}/{path.name}")
                names = {path.name for path in files}
                for file in before:
                    if file.rpartition("/")[2] not in names:
                        self.fs.rm_file(file)

    def replace(self, landed: Landed, made: Path, lines: Sequence[int] = (), *, emptied: bool = False) -> Landed:
        """Puts the bytes of `made` in the place of the landed file, in one step where landing is local.

        `lines` and `emptied` are noted with the hashes, before anything is changed, see `kkbc.intake.rewrites`. The
        file `made` may move away. The folder keeps its name, which has the digits of the first content.
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
        folder = self._folder(landed.uri)
        target = f"{folder}/sent/{self._name_of(folder, landed.name)}"
        with writing(self.root):
            if self.is_local:
                self._place_whole(made, Path(target))
            else:
                self.put(made, target)
        readable = Path(target) if self.is_local and not self.encrypts else made
        return Landed(landed.uri, landed.name, size, digest, readable)

    def note(self, entry: Rewritten) -> None:
        """Adds a rewrite to the journal next to the landed file, or what is known of it more by now."""
        path = f"{self._folder(entry.uri)}/{JOURNAL}"
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
            return Journal.of(self.fs.cat_file(f"{self._folder(uri)}/{JOURNAL}").decode())
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
            for left in ("sent.partial", f"{JOURNAL}.partial"):
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
        paths = tuple(sorted(self.fs.glob(f"{self._folder(uri)}/rows/{kind}-*.parquet")))
        return Frames(self, paths)

    @contextmanager
    def decrypted(self, path: Path, place: str) -> Iterator[Path]:
        """A file with the content of the local file `path` in the clear: itself, or a copy in the spool for this block.

        Raises UserError, naming `place`, as `decrypting` does.
        """
        if not encryption.is_encrypted(path):
            yield path
            return
        with spool_folder("decrypted") as spool:
            copy = spool / "content"
            with decrypting(place), path.open("rb") as source, writing(spool), copy.open("wb") as target:
                encryption.decrypt(source, target, self.keys)
            yield copy

    def place(self, path: Path, target: Path) -> None:
        """Makes the local file `target` of `path`: moves it there, or encrypts it there and leaves it as it is."""
        if self.encrypts:
            _encrypt(path, target, self.keys)
        else:
            shutil.move(path, target)

    def put(self, path: Path, target: str) -> None:
        """Writes a file of the spool to `target`, where landing is remote."""
        if not self.encrypts:
            self.fs.put_file(str(path), target)
            return
        encrypted = path.with_name(f"{path.name}.encrypted")
        try:
            self.place(path, encrypted)
            self.fs.put_file(str(encrypted), target)
        finally:
            encrypted.unlink(missing_ok=True)

    def _encrypted_folder(self, plain: Path, made: Path) -> Path:
        """Makes the folder `made` with the files of `plain` in it, encrypted, and returns it."""
        shutil.rmtree(made, ignore_errors=True)
        try:
            made.mkdir()
            for path in sorted(plain.iterdir()):
                self.place(path, made / path.name)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return made

    def _name_of(self, folder: str, name: str | None) -> str:
        """Under what name the file lies that was delivered, or is reported, as `name` (None: the only one there)."""
        try:
            names = sorted(str(path).rpartition("/")[2] for path in self.fs.ls(f"{folder}/sent", detail=False))
        except FileNotFoundError:
            names = []
        for there in names:
            if name in (None, there, shown_name(there)) or there == shown_name(name or ""):
                return there
        wanted = shown_name(name) if name else "a file"
        raise NotLanded(f"landing folder {self.fs.unstrip_protocol(folder)} does not hold {wanted}", RESTORE)

    def _place_whole(self, path: Path, target: Path) -> None:
        """Makes the landed file `target` of `path`, in one step.

        By way of another name, for a move between file systems is a copy, and may be cut off.
        """
        partial = target.parent.parent / "sent.partial"
        try:
            self.place(path, partial)
            partial.replace(target)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def _folder(self, uri: str) -> str:
        return str(self.fs._strip_protocol(uri))


@contextmanager
def writing(place: object) -> Iterator[None]:
    """Raises UserError, naming `place`, when what the block writes there cannot be written: NoSpace on a full disk."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        cause, number = cause_of(error)
        if cause is None or number in _OF_THE_NAME:
            raise
        kind = NoSpace if number in FULL else UserError
        raise kind(f"landing {place} cannot be written: {cause}", "free disk space there") from error


class DamagedFile(UserError):
    """A file of landing was cut off or altered."""


@contextmanager
def decrypting(place: str) -> Iterator[None]:
    """Raises DamagedFile, naming `place`, for what the block cannot decrypt, UserError where its key is not there."""
    try:
        yield
    except UnknownKey as error:
        raise UserError(
            f"landing {place} is encrypted under the key {error}, which {landing_keys.place()} does not hold",
            landing_keys.RESTORE,
        ) from None
    except Damaged as error:
        raise DamagedFile(f"landing {place} cannot be decrypted: {error}", RESTORE) from None


def _encrypt(path: Path, target: Path, keys: Keyring) -> None:
    with path.open("rb") as source, target.open("wb") as file:
        encryption.encrypt(source, file, keys.first)


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
