"""XML as a stream of events: nothing is fetched, nothing is expanded, nothing is kept."""

from collections.abc import Callable, Iterator
from typing import IO, Any
from xml.parsers import expat

CHUNK = 2**16
MAX_TOKEN = 2**20
"""Bytes of a tag with its attributes, of a comment. What is not complete is looked at again with every chunk."""

Attributes = list[str]
"""Names and values in turn, as the parser gives them."""


class Refused(Exception):
    """Something no workbook may do. Its text is for the operator and holds nothing that the branch wrote."""


class _Locals(dict[str, str]):
    def __missing__(self, name: str) -> str:
        local = self[name] = name.rpartition(":")[2]
        return local


LOCAL = _Locals()
"""Names of tags without their prefix."""


class Handler:
    """Told of tags by their names as written, see LOCAL, and of text between `listen` and `ignore`."""

    def __init__(self) -> None:
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.StartDoctypeDeclHandler = _no_document_type

    def listen(self, to: Callable[[str], Any]) -> None:
        """Text goes to `to` from here on."""
        self._parser.CharacterDataHandler = to

    def ignore(self) -> None:
        """Text goes nowhere from here on."""
        self._parser.CharacterDataHandler = None

    def start(self, name: str, attributes: Attributes) -> None:
        """A tag opens."""

    def end(self, name: str) -> None:
        """A tag closes."""

    def feed(self, stream: IO[bytes]) -> Iterator[None]:
        """Parses `stream` to its end; pauses after each chunk. Raises ExpatError for what is not XML, and Refused."""
        fed = 0
        while chunk := stream.read(CHUNK):
            self._parser.Parse(chunk, False)
            fed += len(chunk)
            if fed - self._parser.CurrentByteIndex > MAX_TOKEN:
                raise Refused(f"a tag or comment is longer than {MAX_TOKEN} bytes")
            yield
        self._parser.Parse(b"", True)
        yield


def attribute(attributes: Attributes, name: str, default: str = "") -> str:
    """The value of an attribute whose name, without prefix, is `name`."""
    for key, value in zip(attributes[::2], attributes[1::2], strict=True):
        if key.rpartition(":")[2] == name:
            return value
    return default


def _no_document_type(*_: object) -> None:
    # The packaging convention forbids it, and it is the way to entities that grow or point elsewhere.
    raise Refused("a part of the workbook declares a document type")
