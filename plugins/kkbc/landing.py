"""Landing: what branches sent, byte for byte, and the typed and quarantined rows made of it, as Parquet.

One folder a slice and content, `{branch}/{date}/{feed}/r{revision}-{sha256[:12]}/`: the file in `sent/`, the rows
beside it. Nothing in it is ever changed: other content makes another folder. The root is a folder or any fsspec URI.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import fsspec
import polars as pl

from kkbc.errors import UserError
from kkbc.slices import Slice

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Landed:
    """The landed bytes of a slice. `uri` is its folder, `readable` a local file with the same bytes."""

    uri: str
    name: str
    bytes: int
    sha256: str
    readable: Path


class Landing:
    """The landing area under `root`, a folder or an fsspec URI. Raises UserError when it cannot be written."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.fs, self.path = fsspec.core.url_to_fs(root)
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        if self.is_local:
            private_folder(Path(self.path))

    def land(self, slice_: Slice, name: str, spooled: Path) -> Landed:
        """Keeps the bytes of `spooled`, delivered as `name`; the spooled file moves away where landing is local.

        Idempotent: the same content of the same slice lands in the same place.
        """
        digest, size = checksum(spooled)
        folder = f"{self.path}/{slice_.branch_id}/{slice_.business_date}/{slice_.feed}/r{slice_.revision}-{digest[:12]}"
        target = f"{folder}/sent/{name}"
        try:
            if self.is_local:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(spooled, target)
                readable = Path(target)
            else:
                self.fs.put_file(str(spooled), target)
                readable = spooled
        except OSError as error:
            raise UserError(
                f"landing {self.root} cannot be written: {error.strerror}", "free disk space there"
            ) from error
        return Landed(self.fs.unstrip_protocol(folder), name, size, digest, readable)

    def keep(self, landed: Landed, name: str, frame: pl.DataFrame) -> None:
        """Writes `frame` as `name`.parquet beside the landed bytes, in one step."""
        _, folder = fsspec.core.url_to_fs(landed.uri)
        target = f"{folder}/{name}.parquet"
        try:
            if self.is_local:
                partial = Path(f"{target}.partial")
                frame.write_parquet(partial)
                partial.replace(target)
            else:
                with self.fs.open(target, "wb") as file:
                    frame.write_parquet(file)
        except OSError as error:
            raise UserError(
                f"landing {self.root} cannot be written: {error.strerror}", "free disk space there"
            ) from error


def private_folder(path: Path) -> Path:
    """Makes a folder that only its owner may enter, for persons are in it. Raises UserError when it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {path} cannot be made: {error.strerror}", "check its owner and the disk") from error
    return path


def checksum(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and length in bytes of a file, read in blocks."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
