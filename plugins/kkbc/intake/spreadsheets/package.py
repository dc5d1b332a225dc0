"""The package of a workbook: a zip whose parts are found by their relationships, as Excel finds them."""

import posixpath
import zipfile
from typing import IO
from urllib.parse import unquote

from kkbc.intake.spreadsheets.markup import LOCAL, Attributes, Handler, Refused, attribute

MAX_BYTES = 2**30
MIN_BYTES = 64 * 2**20
MAX_RATIO = 200
"""What a workbook may unfold to, in bytes of XML and again in characters of cells: so many times its size, within these
two. The same proportion holds for gzip."""

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class Budget:
    """What a workbook may still unfold to."""

    def __init__(self, size: int) -> None:
        self.most = self._left = min(max(MIN_BYTES, MAX_RATIO * size), MAX_BYTES)

    def spend(self, amount: int) -> None:
        """Raises Refused when `amount` is more than what is left."""
        self._left -= amount
        if self._left < 0:
            raise Refused(f"the workbook unfolds to more than {self.most} bytes")


class Part:
    """One member of the package, being read. Its checksum is tested when it is read to the end."""

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        chunk = self._stream.read(size)
        self._budget.spend(len(chunk))
        return chunk


class Package:
    """The members of a zip by name: case, and slashes or backslashes, make no difference to Excel nor here."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._archive = zipfile.ZipFile(stream)
        self._members = {normal(member.filename): member for member in self._archive.infolist()}
        self._budget = Budget(size)

    def has_part(self, name: str) -> bool:
        """Whether there is such a part."""
        return normal(name) in self._members

    def open(self, name: str) -> IO[bytes]:
        """A part to read. Raises Refused when it is not there or says itself that it is too long."""
        member = self._members.get(normal(name))
        if member is None:
            raise Refused("a part of the workbook is missing")
        if member.compress_type not in _METHODS:
            raise Refused("a part of the workbook is packed in a way that workbooks are not")
        if member.file_size > self._budget.most:
            raise Refused(f"the workbook unfolds to more than {self._budget.most} bytes")
        return Part(self._archive.open(member), self._budget)  # type: ignore[return-value]

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """Where the part `name` ("" for the package) points: by id, the kind of the target and its name."""
        folder, base = posixpath.split(name)
        source = posixpath.join(folder, "_rels", f"{base}.rels")
        if not self.has_part(source):
            return {}
        relations = _Relations(folder)
        for _ in relations.feed(self.open(source)):
            pass
        return relations.found


class _Relations(Handler):
    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self.found: dict[str, tuple[str, str]] = {}

    def start(self, name: str, attributes: Attributes) -> None:
        tag = LOCAL[name]
        if tag == "Relationship" and attribute(attributes, "TargetMode").lower() != "external":
            target = unquote(attribute(attributes, "Target")).replace("\\", "/")
            kind = attribute(attributes, "Type").rpartition("/")[2]
            self.found[attribute(attributes, "Id")] = (
                kind,
                posixpath.normpath(posixpath.join("/", self._folder, target)),
            )


def normal(name: str) -> str:
    """The name of a part as parts are told apart."""
    return name.replace("\\", "/").lstrip("/").lower()
