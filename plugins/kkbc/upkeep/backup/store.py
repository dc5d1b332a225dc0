"""The folder that backups lie in, a local one or an fsspec URI.

    suppressed.json             everybody who was erased, as of the latest backup
    objects/ab/abcd...          contents of landing's files, named by their SHA-256, each once for all backups
    20231213T053000Z/           one backup: `warehouse/` and `airflow/` (of pg_dump), `landing.jsonl.gz` (path, bytes
                                and hash of each file of landing), `manifest.json` (hashes of all of these)

`manifest.json` is written last: a folder without one was interrupted, is not listed, and goes with the next backup.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import IO, Any

import fsspec
from pydantic import BaseModel, ValidationError

from kkbc.core.disk import FULL
from kkbc.core.errors import UserError

MANIFEST = "manifest.json"
FORMAT = 1
_NAME = re.compile(r"\d{8}T\d{6}Z")
_BLOCK = 1 << 20


class File(BaseModel):
    """A file of a backup, with what tells whether it is still the one that was written."""

    bytes: int
    sha256: str


class Role(BaseModel):
    """A role of the warehouse or a login that has one; never its password."""

    name: str
    login: bool
    connection_limit: int
    member_of: list[str]


class Manifest(BaseModel):
    """What a backup holds."""

    format: int = FORMAT
    name: str
    taken_at: str
    seconds: float
    project: str
    schema_version: str
    server_version: int
    owner: str
    """The login that owns the objects of the warehouse."""
    landing_root: str
    """Where landing lay, as the warehouse's own records name it."""
    key_fingerprint: str | None
    """Of the key of the tokens; None while no night was run."""
    rows: dict[str, int]
    """Rows of each table."""
    roles: list[Role]
    airflow: bool
    landing_files: int
    landing_bytes: int
    new_objects: int
    new_bytes: int
    suppressed: int
    """Persons on the suppression list when the warehouse was read."""
    files: dict[str, File]

    @property
    def dump_bytes(self) -> int:
        """Size of all but landing."""
        return sum(file.bytes for file in self.files.values())

    def summary(self) -> dict[str, Any]:
        """What it holds in numbers, as JSON values."""
        found = self.model_dump(exclude={"files", "roles"})
        return {**found, "rows": sum(self.rows.values()), "dump_bytes": self.dump_bytes}


class Store:
    """A folder of backups. Raises UserError when it cannot be written or read, or something in it is damaged."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.fs, path = fsspec.core.url_to_fs(uri)
        self.path = str(path).rstrip("/")
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))

    def key(self, *parts: str) -> str:
        """The path of something in the folder."""
        return "/".join((self.path, *parts))

    def object_key(self, digest: str) -> str:
        """The path of a content."""
        return self.key("objects", digest[:2], digest)

    def names(self) -> list[str]:
        """The whole backups, oldest first."""
        found = self.fs.glob(self.key("*", MANIFEST))
        return sorted(name for path in found if _NAME.fullmatch(name := path.rsplit("/", 2)[1]))

    def latest(self) -> str:
        """The newest backup. Raises UserError when there is none."""
        names = self.names()
        if not names:
            raise UserError(f"there is no backup in {self.uri}", "name the folder that `kkbc backup` wrote to")
        return names[-1]

    def manifest(self, name: str) -> Manifest:
        """What a backup holds. Raises UserError for one that is not there or whose manifest is damaged."""
        path = self.key(name, MANIFEST)
        try:
            document = json.loads(self.fs.cat_file(path))
            if document.pop("sha256") != _digest(document):
                raise ValueError
            found = Manifest.model_validate(document)
        except FileNotFoundError as error:
            raise UserError(f"{self.uri} holds no backup {name}", "`kkbc backup list` names those it holds") from error
        except (ValueError, KeyError, ValidationError) as error:
            raise UserError(f"{path} is damaged", "use another backup") from error
        if found.format != FORMAT:
            raise UserError(f"{path} is of format {found.format}, this version reads {FORMAT}", "use its own version")
        return found

    def finish(self, manifest: Manifest) -> None:
        """Makes a backup whole."""
        document = manifest.model_dump()
        self.write(self.key(manifest.name, MANIFEST), json.dumps({**document, "sha256": _digest(document)}, indent=1))

    def objects(self) -> dict[str, int]:
        """All contents with their sizes."""
        found = self.fs.find(self.key("objects"), detail=True)
        return {path.rpartition("/")[2]: int(about["size"]) for path, about in found.items() if ".partial" not in path}

    def write(self, path: str, text: str) -> None:
        """Writes a small file in place of the one that is there."""
        with self.new_file(path) as file:
            file.write(text.encode())

    @contextmanager
    def new_file(self, path: str) -> Iterator[IO[bytes]]:
        """A file that is there when the block ends well, whole; else what was there before."""
        with self.writing():
            if not self.is_local:
                with self.fs.open(path, "wb") as file:
                    yield file
                return
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = target.with_name(f"{target.name}.partial{os.getpid()}-{get_ident()}")
            try:
                with partial.open("wb") as file:
                    partial.chmod(0o600)
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

    def keep_folder(self, folder: Path, *parts: str) -> dict[str, File]:
        """Hashes the files of a local folder, and brings them here where they are not; by their path in the backup."""
        kept = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = "/".join((*parts[1:], str(path.relative_to(folder))))
            with path.open("rb") as file, self.writing():
                kept[name] = File(bytes=path.stat().st_size, sha256=hashed(file))
                if self.is_local:
                    path.chmod(0o600)
                else:
                    self.fs.put_file(str(path), self.key(parts[0], name))
        return kept

    def check_file(self, name: str, file: str, expected: File) -> None:
        """Raises UserError, naming it, when a file of a backup is not the one that was written."""
        path = self.key(name, file)
        try:
            with self.fs.open(path, "rb") as content:
                found = hashed(content)
        except FileNotFoundError:
            found = ""
        if found != expected.sha256:
            raise damaged(path, there=bool(found))

    def sweep(self) -> None:
        """Removes what interrupted backups left, but for contents, which the next one can use."""
        if not self.fs.isdir(self.path):
            return
        whole = set(self.names())
        for path in self.fs.ls(self.path, detail=False):
            name = str(path).rstrip("/").rpartition("/")[2]
            if _NAME.fullmatch(name) and name not in whole:
                self.fs.rm(path, recursive=True)
        for path in self.fs.glob(self.key("objects", "*", "*.partial*")):
            self.fs.rm_file(path)

    def remove(self, name: str) -> None:
        """Removes a backup, its manifest first, so that half of one is never listed."""
        self.fs.rm_file(self.key(name, MANIFEST))
        self.fs.rm(self.key(name), recursive=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raises UserError when what the block writes cannot be written."""
        try:
            yield
        except OSError as error:
            cause = error.strerror or type(error).__name__
            remedy = (
                "free space there, or keep fewer backups" if error.errno in FULL else "check the path and its owner"
            )
            raise UserError(f"backups in {self.uri} cannot be written: {cause}", remedy) from error


def is_missing(error: OSError) -> bool:
    """Whether a file went away."""
    return isinstance(error, FileNotFoundError) or error.errno in (errno.ENOENT, errno.ENOTDIR)


def damaged(path: str, *, there: bool = True) -> UserError:
    """What is said of a file that is not the one that was written."""
    return UserError(f"{path} is {'damaged' if there else 'missing'}", "use another backup, or a copy of this file")


def hashed(file: IO[bytes], target: IO[bytes] | None = None) -> str:
    """SHA-256 (hex) of a file from where it stands, copied to `target` on the way."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
        if target is not None:
            target.write(block)
    return digest.hexdigest()


def remove_tree(path: Path) -> None:
    """Removes a local folder, if it is there."""
    shutil.rmtree(path, ignore_errors=True)


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
