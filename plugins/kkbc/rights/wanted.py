"""Whom a request is about: NIKs from standard input or a file, never from an argument, a parameter or a log."""

import re
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.needles import SHORTEST
from kkbc.exchange.nik import DIGITS

_SEPARATORS = re.compile(r"[;\t]")


@dataclass(frozen=True)
class Wanted:
    """The persons of a request: their NIKs in the order of their lines, and what else was given to look for.

    lines: the line of each NIK, by which a person is named. values: names, phone numbers and e-mails that stood behind
    the NIKs, which are taken to be theirs alone.
    """

    niks: tuple[str, ...] = field(repr=False)
    lines: tuple[int, ...]
    values: tuple[str, ...] = field(default=(), repr=False)

    @property
    def subjects(self) -> list[str]:
        """What stands for the persons in the record of accesses."""
        key = tokens.load_marks_key()
        return [tokens.subject(nik, key) for nik in self.niks]

    @property
    def digest(self) -> str:
        """The same for the same persons, whatever their order: by it a request is known again."""
        return tokens.subject("\n".join(sorted(self.niks)), tokens.load_marks_key())

    @property
    def participant_tokens(self) -> list[str]:
        """The tokens by which the persons are known outside landing and vault."""
        import polars as pl

        return tokens.tokens(pl.Series(list(self.niks), dtype=pl.String), tokens.load_key()).to_list()


def read_wanted(file: Path | None) -> Wanted:
    """Reads a NIK a line, from a file that only its owner may read, or from standard input.

    Behind a NIK may stand, with semicolons or tabs between, names, phone numbers and e-mails of the person. Blank lines
    and lines that begin with # are passed over; a person who is named twice counts once. Raises UserError, naming the
    line and never what stands there.
    """
    return parse(_content(file), "standard input" if file is None else str(file))


def parse(content: bytes, place: str) -> Wanted:
    """The persons in the text of a request. Raises UserError."""
    niks: dict[str, int] = {}
    values: dict[str, None] = {}
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", content), start=1):
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise UserError(f"line {number} of {place} is no UTF-8", "save it as UTF-8, a NIK a line") from None
        if not text or text.startswith("#"):
            continue
        nik, *more = (part.strip() for part in _SEPARATORS.split(text))
        if not re.fullmatch(DIGITS, nik):
            raise UserError(f"line {number} of {place} does not begin with a NIK", "write 16 digits, a person a line")
        for value in filter(None, more):
            if len(value) < SHORTEST:
                raise UserError(
                    f"line {number} of {place} has a value of fewer than {SHORTEST} characters",
                    "leave it out: a short one is found by chance",
                )
            values[value] = None
        niks.setdefault(nik, number)
    if not niks:
        raise UserError(f"{place} names nobody", "write a NIK a line")
    return Wanted(tuple(niks), tuple(niks.values()), tuple(values))


def _content(file: Path | None) -> bytes:
    if file is None:
        if sys.stdin.isatty():
            raise UserError("nobody is named", "give NIKs on standard input, or --file FILE")
        return sys.stdin.buffer.read()
    try:
        mode = file.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UserError(f"{file} can be read by others", f"chmod 600 {file}")
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", "give a file with a NIK a line") from error
