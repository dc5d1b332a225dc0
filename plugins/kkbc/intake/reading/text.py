"""Text files: from bytes, perhaps gzipped, to lines of characters, in flat memory."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from kkbc.core.errors import SliceRejected

MAX_LINE = 8 * 2**20
"""No line of a delivery is longer, in bytes; what is, is no text."""

_GZIP = b"\x1f\x8b"
_CHUNK = 2**20
_BOMB_SIZE = 64 * 2**20
_BOMB_RATIO = 200
_MAX_UNFOLDED = 4 * 2**30
_CTRL_Z = b"\x1a"
"""The end-of-file mark of DOS, which some programs still write (Exchange rule 28)."""


def _control_character(error: UnicodeError) -> tuple[str, int]:
    """The five bytes that Windows-1252 leaves undefined, read as browsers do: the control character of that number."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(error.object[error.start]), error.start + 1


CONTROL_CHARACTERS = "kkbc.control_character"
"""Error handler for decoding Windows-1252, so that any bytes at all have a reading."""
codecs.register_error(CONTROL_CHARACTERS, _control_character)


@dataclass(frozen=True)
class Text:
    """A text file whose encoding is known, utf-8 or windows-1252; `bom`: it begins with a byte order mark of UTF-8.

    `size` is in bytes after gunzip, the mark and a last Ctrl-Z (`end_mark`) not counted; `content` holds the file when
    it is short.
    """

    path: Path
    gzipped: bool
    encoding: str
    bom: bool
    end_mark: bool
    size: int
    content: bytes | None

    @property
    def dialect_encoding(self) -> str:
        """The encoding as `kkbc.intake.reading.batches.Dialect` names it."""
        return "utf-8-sig" if self.bom else self.encoding

    def lines(self) -> Iterator[str]:
        """Physical lines with their line ends: LF, CRLF or a lone CR. Each call starts at the top.

        U+FFFD stands where the bytes of a file with a byte order mark are not UTF-8 (Exchange rule 31).
        """
        raw = io.BytesIO(self.content) if self.content is not None else _open(self.path, self.gzipped)
        raw.seek(len(codecs.BOM_UTF8) if self.bom else 0)
        errors = "replace" if self.encoding == "utf-8" else CONTROL_CHARACTERS
        with io.TextIOWrapper(raw, self.encoding, errors=errors, newline="") as lines:
            yield from _without_end_mark(lines) if self.end_mark else lines


def open_text(path: Path) -> Text:
    """Pass over the file once to learn its encoding (Exchange rules 20, 31).

    UTF-8 if it begins with a byte order mark or all of it is valid, else Windows-1252. Raises SliceRejected UNREADABLE
    for damaged gzip, for bytes that are no text (NUL, lines without end) and for gzip that unfolds beyond all
    proportion.
    """
    with path.open("rb") as stream:
        gzipped = stream.read(len(_GZIP)) == _GZIP
    try:
        with _open(path, gzipped) as stream:
            return _survey(stream, path, gzipped)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SliceRejected("UNREADABLE", "the gzip data are damaged or cut off") from error


def open_binary(text: Text) -> BinaryIO:
    """The bytes of a text file from its first, after gunzip."""
    return _open(text.path, text.gzipped)


def _open(path: Path, gzipped: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if gzipped else path.open("rb")


def _without_end_mark(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a file whose last character is a Ctrl-Z, without it."""
    before: str | None = None
    for line in lines:
        if before is not None:
            yield before
        before = line
    if before is not None and (last := before.removesuffix(_CTRL_Z.decode())):
        yield last


def _survey(stream: BinaryIO, path: Path, gzipped: bool) -> Text:
    sent = path.stat().st_size
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding, bom, content, last = "utf-8", False, b"", b""
    size = line = 0
    for chunk in iter(partial(stream.read, _CHUNK), b""):
        if not size:
            bom, content = chunk.startswith(codecs.BOM_UTF8), chunk
        if (nul := chunk.find(b"\0")) >= 0:
            raise SliceRejected("UNREADABLE", f"byte {size + nul + 1} is NUL: neither UTF-8 nor Windows-1252 text")
        size, last = size + len(chunk), chunk[-1:]
        last_end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        line = line + len(chunk) if last_end < 0 else len(chunk) - last_end - 1
        if line > MAX_LINE:
            raise SliceRejected("UNREADABLE", f"a line is longer than {MAX_LINE} bytes")
        if gzipped and size > _BOMB_SIZE and (size > _BOMB_RATIO * sent or size > _MAX_UNFOLDED):
            raise SliceRejected("UNREADABLE", f"gzip unfolds to more than {_BOMB_RATIO} times its size or 4 GiB")
        if encoding == "utf-8" and not bom and not _decodes(decoder, chunk):
            encoding = "windows-1252"
    if encoding == "utf-8" and not bom and not _decodes(decoder, b"", final=True):
        encoding = "windows-1252"
    end_mark = last == _CTRL_Z
    return Text(
        path,
        gzipped,
        encoding,
        bom,
        end_mark,
        size - len(codecs.BOM_UTF8) * bom - end_mark,
        content if size == len(content) else None,
    )


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True
