"""Needles: values of persons, and where they stand in bytes, in whatever form; see docs/security.md.

A value is looked for in all its forms at once. What is found is told by the number of the value, never by the value.
"""

import base64
import gzip
import html
import io
import json
import lzma
import re
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, quote_plus

import hyperscan
import polars as pl

from kkbc.core.errors import UserError

SHORTEST = 5
"""Characters that a value must have at least: of shorter ones, every table holds some by chance."""

BLOCK = 8 * 2**20
# Between the parts of a name or number, however it was typed: these bytes (A0 is the no-break space of Windows-1252 and
# UTF-16), blanks, hyphens and marks without width of Unicode in UTF-8, and blanks as HTML, JSON, Python, COPY and
# percent signs write them.
_SEPARATORS = b" \t\r\n\v\f._-/()+',;|\xa0"
_SPELLED = (
    rb"\xc2[\xa0\xad]|\xe2\x80[\x80-\x95\xa8\xa9\xaf]|\xe2\x81[\x9f\xa0]|\xe3\x80\x80|\xef\xbb\xbf"
    rb"|&(?:[nN][bB][sS][pP]|#(?:160|32|13|10|9|[xX](?:[aA]0|20|0?[9aAdD])));|<[bB][rR] ?/?>"
    rb"|\\+(?:[nrtvf]|x(?:[aA][0dD]|20|0[9a-dA-D])|u00(?:[aA][0dD]|20|0[9a-dA-D]))"
    rb"|\\+u(?:20(?:0[0-9a-fA-F]|1[0-5]|2[89fF]|5[fF]|60)|3000|[fF][eE][fF][fF])"
    rb"|%(?:[cC]2%[aA]0|20|0[9a-dA-D])"
)
_NUMBER_PREFIXES = ("62", "0")
_HIDDEN = "***"
_OVERLAP = 256
_UNFOLDED = 2**30  # a member of an archive that unfolds to more is looked at as it lies
_NO_ARCHIVE = (
    *(EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, pl.exceptions.PolarsError),
    RuntimeError,  # of zip: it wants a password, or a way of packing that is not known here
)


class Needles:
    """The forms of some values, looked for all at once. Raises UserError for a value that is too short, and for none.

    Forms: as it is, in lower and upper case and with initials, in UTF-8, Windows-1252 and UTF-16 of both orders; as
    JSON, HTML and Python escape it; in percent signs; in hexadecimal digits; in base64, wherever in a longer text it
    stood; and, in all encodings, without what separates its parts, so that a number in groups, a name with underscores
    and one that is broken over two lines are found too.
    """

    def __init__(self, values: Sequence[str]) -> None:
        if not values:
            raise UserError("there is no value to look for", "write one a line")
        short = [number for number, value in enumerate(values, start=1) if len(value.strip()) < SHORTEST]
        if short:
            raise UserError(
                f"value {short[0]} has fewer than {SHORTEST} characters",
                "give longer ones: a short one is found by chance",
            )
        plain: dict[bytes, int] = {}
        squeezed: dict[bytes, int] = {}
        for number, value in enumerate(values, start=1):
            for form in _forms(value.strip()):
                plain.setdefault(form.lower(), number)
            for text in _cases(_core(value.strip())):
                for encoded in _encoded(text):
                    form = _squeezed(encoded)
                    if len(form) >= SHORTEST:
                        squeezed.setdefault(form.lower(), number)
        self._plain, self._squeezed = _Forms(plain), _Forms(squeezed)
        self.overlap = max(map(len, plain)) + 256

    def count(self, block: bytes) -> Counter[int]:
        """How often each value, by number, stands in `block`; at least once, where it stands there at all."""
        # Of what is spelled with a backslash, \t may be a tab, or the beginning of a name in a path of Windows.
        found = self._plain.count(block)
        for squeezed in {_squeezed(block), block.translate(None, _SEPARATORS)}:
            found |= self._squeezed.count(squeezed)
        return found

    def found_in(self, texts: pl.Series) -> pl.Series:
        """Of each of some texts (String, none null), whether a value stands in it."""
        nowhere = pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        if not self.count(b"\n".join(encoded)):
            return nowhere
        ways = (
            (encoded, self._plain),
            ([_squeezed(text) for text in encoded], self._squeezed),
            ([text.translate(None, _SEPARATORS) for text in encoded], self._squeezed),
        )
        found = nowhere
        for written, forms in ways:
            characters = pl.Series([text.decode("latin-1") for text in written], dtype=pl.String)
            names = [form.decode("latin-1") for form in forms.numbers]
            found |= characters.str.contains_any(names, ascii_case_insensitive=True)
        return found

    def hidden(self, name: str, between: str) -> str:
        """A name, of parts with `between` between them, with *** for each part in which a value stands.

        Where a value stands in several parts taken together, it stands for all of these.
        """
        parts = name.split(between)
        for width in range(1, len(parts) + 1):
            for first in range(len(parts) - width + 1):
                if not self.count(bytes_of(between.join(parts))):
                    return between.join(parts)
                if self.count(bytes_of(between.join(parts[first : first + width]))):
                    parts[first : first + width] = [_HIDDEN] * width
        return _HIDDEN


def bytes_of(name: str) -> bytes:
    """A name of the file system as the bytes that it is."""
    return name.encode("utf-8", "surrogateescape")


class _Scanner:
    """Patterns that are looked for in bytes all at once. Compiled when first needed, and for one thread at a time."""

    def __init__(self, patterns: Sequence[bytes], flags: int) -> None:
        self._patterns, self._flags, self._lock = patterns, flags, threading.Lock()

    @cached_property
    def _compiled(self) -> Any:
        made = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        numbers = range(len(self._patterns))
        made.compile(expressions=self._patterns, ids=list(numbers), flags=[self._flags for _ in numbers])
        return made

    def scan(self, block: bytes, found: Callable[[int, int, int], None]) -> None:
        """Calls `found` with the number of a pattern, begin (where the flags ask for it) and end of each match."""
        if not self._patterns or not block:
            return
        with self._lock:
            self._compiled.scan(block, match_event_handler=lambda number, begin, end, *_: found(number, begin, end))


class _Forms:
    """Some forms, in ASCII's lower case, each with the number of the value that it is one of."""

    def __init__(self, numbers: Mapping[bytes, int]) -> None:
        self.numbers = numbers
        self._values = list(numbers.values())
        literals = ["".join(f"\\x{byte:02x}" for byte in form).encode() for form in numbers]
        self._scanner = _Scanner(literals, hyperscan.HS_FLAG_CASELESS)

    def count(self, block: bytes) -> Counter[int]:
        """How often a form of each value, by number, stands in `block`, in any case; also where two overlap."""
        found: Counter[int] = Counter()
        self._scanner.scan(block, lambda form, _, __: found.update((self._values[form],)))
        return found


_SPELLED_OUT = _Scanner([_SPELLED], hyperscan.HS_FLAG_SOM_LEFTMOST)


def _squeezed(text: bytes) -> bytes:
    """Bytes without separators; of UTF-16 and UTF-32 without zero bytes too: Latin letters are those of UTF-8."""
    text = text.translate(None, b"\0")
    parts, end = [], 0

    def leave_out(_: int, begin: int, to: int) -> None:
        nonlocal end
        if begin >= end:
            parts.append(text[end:begin])
        end = max(end, to)

    _SPELLED_OUT.scan(text, leave_out)
    return b"".join([*parts, text[end:]]).translate(None, _SEPARATORS)


def same_text(value: str) -> str:
    """The same for values that are found in the same places: a name in any case, a phone number with any prefix."""
    return _squeezed(_core(value.strip()).encode()).decode().casefold()


def _core(value: str) -> str:
    """A phone number without what precedes it, by which it is found in every spelling; any other value as it is."""
    bare = re.sub(r"[\s._/()+',;|-]", "", value)
    for prefix in _NUMBER_PREFIXES:
        rest = bare.removeprefix(prefix)
        if rest != bare and rest.isdecimal() and rest.startswith("8"):
            return rest
    return value


def _forms(value: str) -> set[bytes]:
    core = _core(value)
    texts = {form for text in (value, core) for form in _cases(text)}
    forms: set[bytes] = set()
    for text in texts:
        escaped = {
            text,
            json.dumps(text)[1:-1],
            "".join(f"\\u{ord(c):04x}" for c in text if ord(c) < 0x10000),
            html.escape(text),
            text.encode("unicode_escape").decode("ascii"),
            quote(text, safe=""),
            quote_plus(text),
            "".join(f"%{byte:02x}" for byte in text.encode()),
            "".join(f"\\x{byte:02x}" for byte in text.encode()),
        }
        forms |= {form.encode() for form in escaped}
        for plain in _encoded(text):
            forms |= {plain, plain.hex().encode(), *_in_base64(plain)}
    return {form for form in forms if len(form) >= SHORTEST}


def _cases(text: str) -> set[str]:
    return {text, text.lower(), text.upper(), text.title()}


def _encoded(text: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "cp1252"):
        with suppress(UnicodeEncodeError):
            yield text.encode(encoding)


def _in_base64(plain: bytes) -> Iterator[bytes]:
    """What stands for `plain` in base64 whatever precedes and follows it, in both alphabets."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + plain)
        first = -(-before * 8 // 6)  # digits that hold bits of what precedes it
        last = (before + len(plain)) * 8 // 6  # digits that hold none of what follows it
        part = whole[first:last]
        yield part
        yield part.translate(bytes.maketrans(b"+/", b"-_"))


def in_file(path: Path, needles: Needles) -> Counter[int]:
    """What is found in a file, as it lies and, where it is gzip, zip or Parquet, in what it holds. Raises OSError."""
    with path.open("rb") as file:
        found = in_stream(file, needles)
    with suppress(*_NO_ARCHIVE):  # cut off, locked, or something else: searched as it lies
        for inner in _unfolded(path):
            found += in_stream(inner, needles)
    return found


def blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file as they lie, and then those that it holds where it is packed; each block begins with the end
    of the one before.
    """
    with path.open("rb") as file:
        yield from _blocks(file)
    with suppress(*_NO_ARCHIVE):
        for inner in _unfolded(path):
            yield from _blocks(inner)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    before = b""
    while block := stream.read(BLOCK):
        yield before + block
        before = block[-_OVERLAP:]


def in_stream(stream: IO[bytes], needles: Needles) -> Counter[int]:
    """What is found in a stream, block by block; each begins with the end of the one before."""
    found: Counter[int] = Counter()
    before = b""
    while block := stream.read(BLOCK):
        found += needles.count(before + block)
        if before:
            found -= needles.count(before)
        before = (before + block)[-needles.overlap :]
    return found


class _AsFarAsItGoes(io.RawIOBase):
    """What a packed stream holds, up to where it is cut off or damaged."""

    def __init__(self, packed: Any) -> None:
        self._packed = packed

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer at the end."""
        gathered, left = [], size
        with suppress(*_NO_ARCHIVE):
            while left and (piece := self._packed.read1(left)):
                gathered.append(piece)
                left -= len(piece)
        return b"".join(gathered)


def _unfolded(path: Path) -> Iterator[IO[bytes]]:
    """What a compressed file holds, of gzip, zip and Parquet; raises one of _NO_ARCHIVE where it is none."""
    with path.open("rb") as file:
        first = file.read(4)
    if first[:2] == b"\x1f\x8b":
        with gzip.open(path) as inner:
            yield _AsFarAsItGoes(inner)  # type: ignore[misc]
    elif first == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size <= _UNFOLDED:
                    with archive.open(member) as inner:
                        yield _AsFarAsItGoes(inner)  # type: ignore[misc]
    elif first == b"PAR1":
        yield io.BytesIO(pl.read_parquet(path).write_ndjson().encode())
