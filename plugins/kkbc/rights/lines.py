"""Lines that name persons, from a file or from standard input, as any editor writes them."""

import re
import sys
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.files import read_private

STDIN = Path("-")


def place_of(file: Path | None) -> str:
    """Where lines come from, as messages name it."""
    return "standard input" if file in (None, STDIN) else str(file)


def read_lines(content: bytes, place: str) -> list[tuple[int, str]]:
    """The lines that are not blank, each with its number: UTF-8, with or without byte order mark, any line ends.

    Raises UserError, naming the line and never what stands there.
    """
    lines = []
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", content), start=1):
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise UserError(f"line {number} of {place} is no UTF-8", "save it as UTF-8, one a line") from None
        if "\0" in text:
            raise UserError(f"line {number} of {place} holds a NUL", "save it as UTF-8 text, one a line")
        if text:
            lines.append((number, text))
    return lines


def read_content(file: Path | None, remedy: str) -> bytes:
    """What stands in a file that only its owner may read; None and `-` are standard input.

    Raises UserError with `remedy` for what cannot be read, and where a terminal would have to be typed into without
    being asked for.
    """
    if file is None or file == STDIN:
        if sys.stdin is None or (file is None and sys.stdin.isatty()):
            raise UserError("nobody is named", remedy)
        return sys.stdin.buffer.read()
    return read_private(file, "file", missing=remedy)
