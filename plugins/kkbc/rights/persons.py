"""Whom a request is about: NIKs from a file or from standard input, never an argument, and what stands for them."""

from dataclasses import dataclass
from pathlib import Path

from kkbc.core import tokens
from kkbc.rights.wanted import read_wanted, tokens_of
from kkbc.warehouse import connect, kept


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

    Raises UserError as kkbc.rights.wanted.read_wanted does.
    """
    return persons(list(read_wanted(file, values=False).niks))


def persons(niks: list[str]) -> list[Person]:
    """The persons of these NIKs, in their order.

    Raises UserError when the keys are not those that the warehouse goes by: everybody would be a stranger.
    """
    with connect("loader") as conn:
        kept.check_key(conn)
        made = tokens_of(conn, niks)
    marks = tokens.load_marks_key()
    return [Person(nik, token, tokens.subject(nik, marks)) for nik, token in zip(niks, made, strict=True)]
