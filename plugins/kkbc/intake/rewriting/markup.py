"""XML as pieces that can be written again as they were: tags, and what stands between them."""

import html
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import polars as pl

from kkbc.core.needles import Needles
from kkbc.exchange.slices import ERASED
from kkbc.intake.spreadsheets.markup import LOCAL
from kkbc.intake.spreadsheets.workbook import unescaped

_PIECES = re.compile(
    rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<![^>]*>"
    rb"|<(?P<end>/?)(?P<name>[^\s/>\"'=]+)(?P<attributes>(?:[^\"'>]|\"[^\"]*\"|'[^']*')*?)(?P<empty>/?)>"
    rb"|[^<]+",
    re.DOTALL,
)
_TAG = re.compile(rb"<[^>]*>")
_ATTRIBUTE = re.compile(rb"([^\s=\"']+)(\s*=\s*)(\"[^\"]*\"|'[^']*')")
_DECLARED = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_CDATA = b"<![CDATA["
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


class Piece(NamedTuple):
    """A piece of XML. `name` is that of a tag without its prefix, "" for what is none; `ends`: a closing tag, or (with
    `opens`) one that is both."""

    written: bytes
    name: str = ""
    prefix: bytes = b""
    opens: bool = False
    ends: bool = False

    @property
    def is_text(self) -> bool:
        """Whether it is text between tags."""
        return not self.written.startswith(b"<") or self.written.startswith(_CDATA)

    @property
    def text(self) -> str:
        """The text that it stands for."""
        written = self.written
        if written.startswith(_CDATA):
            return written[len(_CDATA) : -3].decode("utf-8", "replace")
        return _text(written)

    def attributes(self) -> list[tuple[bytes, bytes, bytes]]:
        """Name, equals sign and quoted value of each attribute."""
        return _ATTRIBUTE.findall(self.written)

    def attribute(self, wanted: str) -> str:
        """The value of an attribute by its name as written, "" where there is none."""
        return next((_text(value[1:-1]) for name, _, value in self.attributes() if name == wanted.encode()), "")


def as_utf8(data: bytes) -> bytes | None:
    """The XML in UTF-8, without a word of its encoding; None for what is no XML."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        declared = _DECLARED.match(data[:200])
        encoding = declared[1].decode() if declared else "utf-8"
    try:
        text = data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None
    if not text.lstrip().startswith("<"):
        return None
    return re.sub(r"^(\s*<\?xml[^>]*?)\s+encoding\s*=\s*[\"'][^\"']*[\"']", r"\1", text, count=1).encode()


def pieces(data: bytes) -> Iterator[Piece]:
    """All of some XML in UTF-8, piece by piece."""
    for found in _PIECES.finditer(data):
        name = found["name"]
        if name is None:
            yield Piece(found[0])
            continue
        prefix, colon, _ = name.rpartition(b":")
        is_end = bool(found["end"])
        yield Piece(
            found[0], LOCAL[name.decode("utf-8", "replace")], prefix + colon, not is_end, is_end or bool(found["empty"])
        )


def holds(data: bytes, needles: Needles) -> bool:
    """Whether some XML holds a value: as written, in texts of several tags together, or in escaped characters."""
    if needles.count(data):
        return True
    for written in (data, _TAG.sub(b"", data)):
        if b"&" in written or b"_x" in written:
            written = unescaped(_text(written)).encode("utf-8", "replace")
        if needles.count(written):
            return True
    return False


def scrubbed(data: bytes, needles: Needles, *, whole: bool) -> bytes:
    """XML without the values: texts that hold one are empty, attributes are ERASED, comments are gone.

    `whole`: where a value stands in several texts together, all texts of the part go. What holds none stays as it is.
    """
    if not holds(data, needles):
        return data
    made = b"".join(_without(list(pieces(data)), needles))
    if whole and holds(made, needles):
        made = b"".join(piece.written for piece in pieces(made) if not piece.is_text)
    return made


def _without(parts: list[Piece], needles: Needles) -> Iterator[bytes]:
    texts = (piece.text if piece.is_text else _text(piece.written) for piece in parts)
    inside = ""
    for piece, is_theirs in zip(parts, _found(texts, needles), strict=True):
        if not is_theirs:
            yield piece.written
        elif piece.name:
            yield _with_plain_attributes(piece, needles)
        elif piece.is_text and inside == "t":
            yield ERASED.encode()
        if piece.name:
            inside = piece.name if piece.opens and not piece.ends else ""


def _with_plain_attributes(piece: Piece, needles: Needles) -> bytes:
    found = piece.attributes()
    written = piece.written
    for (name, equals, value), is_theirs in zip(
        found, _found((_text(v[1:-1]) for _, _, v in found), needles), strict=True
    ):
        if is_theirs:
            written = written.replace(name + equals + value, name + equals + b'"' + ERASED.encode() + b'"')
    return written


def _found(texts: Iterable[str], needles: Needles) -> list[bool]:
    return needles.found_in(pl.Series([unescaped(text) for text in texts], dtype=pl.String)).to_list()


def _text(written: bytes) -> str:
    return html.unescape(written.decode("utf-8", "replace"))
