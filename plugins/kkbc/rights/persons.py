"""Whom a request is about: NIKs from a file or from standard input, never an argument, and what stands for them."""

import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.exchange import nik as forms

STDIN = Path("-")
_SEPARATORS = re.compile(r"[\s.'-]")


@dataclass(frozen=True)
class Person:
    """A person: the NIK, and what stands for it in the marts (token) and in the record of accesses (subject)."""

    nik: str
    token: str
    subject: str

    def __repr__(self) -> str:
        """Without the NIK: what is printed or logged holds no person."""
        return f"Person({self.subject[:8]})"


def read_persons(file: Path | None) -> list[Person]:
    """The persons whose NIKs `file` holds, one a line; None and `-` are standard input. Each comes once.

    Blanks, dots and dashes within a NIK do no harm. Raises UserError for a file that cannot be read or that others may
    read, for a line that is no NIK, which is named by its number, and when there is none.
    """
    niks = dict.fromkeys(_nik(number, line) for number, line in _lines(file))
    if not niks:
        raise UserError("no NIK was given", "one a line, on standard input or in --file")
    return persons(list(niks))


def persons(niks: list[str]) -> list[Person]:
    """The persons of these NIKs, in their order. Raises UserError as kkbc.core.tokens.load_key does."""
    marks = tokens.load_marks_key()
    made = tokens.tokens(pl.Series(niks, dtype=pl.String), tokens.load_key())
    return [Person(nik, token, tokens.subject(nik, marks)) for nik, token in zip(niks, made, strict=True)]


def _lines(file: Path | None) -> list[tuple[int, str]]:
    try:
        if file is None or file == STDIN:
            data = sys.stdin.buffer.read()
        else:
            if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UserError(f"file {file} can be read by others", f"chmod 600 {file}")
            data = file.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"file {file} cannot be read: {error.strerror}", "name another") from error
    except UnicodeDecodeError as error:
        raise UserError("the NIKs are no text in UTF-8", "one NIK a line, digits only") from error
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _nik(number: int, line: str) -> str:
    nik = _SEPARATORS.sub("", line)
    if not re.fullmatch(forms.DIGITS, nik):
        raise UserError(f"line {number} is no NIK", "a NIK has 16 digits; nothing was done")
    return nik
