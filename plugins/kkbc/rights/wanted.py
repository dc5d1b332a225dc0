"""Whom a request is about: NIKs from standard input or a file, never from an argument, a parameter or a log."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.needles import SHORTEST
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.exchange.nik import DIGITS
from kkbc.rights.lines import place_of, read_content, read_lines
from kkbc.warehouse import kept

_SEPARATORS = re.compile(r"[;\t]")
_WITHIN = re.compile(r"[\s.'-]")


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

    def participant_tokens(self, conn: psycopg.Connection) -> list[str]:
        """The tokens that stand for the persons outside landing and vault, under the key that the warehouse goes by.

        Raises UserError when that key is not there: with another one every person would be a stranger.
        """
        return tokens_of(conn, self.niks)


def tokens_of(conn: psycopg.Connection, niks: Sequence[str]) -> list[str]:
    """The participant tokens of NIKs, in their order, under the key that the warehouse goes by. Raises UserError."""
    import polars as pl

    return tokens.tokens(pl.Series(list(niks), dtype=pl.String), kept.token_key(conn)).to_list()


def read_wanted(file: Path | None, *, values: bool = True) -> Wanted:
    """Reads a NIK a line, from a file that only its owner may read, or from standard input (None, or `-`).

    Blanks, dots and dashes within a NIK do no harm. Behind it may stand, where `values` are taken, with semicolons or
    tabs between, names, phone numbers and e-mails of the person. Blank lines and lines that begin with # are passed
    over; a person who is named twice counts once. Raises UserError, naming the line and never what stands there.
    """
    remedy = "give NIKs, one a line, on standard input or with --file FILE"
    return parse(read_content(file, remedy), place_of(file), values=values)


def parse(content: bytes, place: str, *, values: bool = True) -> Wanted:
    """The persons in the text of a request. Raises UserError."""
    niks: dict[str, int] = {}
    others: dict[str, None] = {}
    for number, text in read_lines(content, place):
        if text.startswith("#"):
            continue
        first, *more = (part.strip() for part in _SEPARATORS.split(text))
        nik = _WITHIN.sub("", first)
        if not re.fullmatch(DIGITS, nik):
            raise UserError(
                f"line {number} of {place} does not begin with a NIK", "write its 16 digits, a person a line"
            )
        for value in filter(None, more):
            _check_value(value, f"line {number} of {place}", taken=values)
            others[value] = None
        niks.setdefault(nik, number)
    if not niks:
        raise UserError(f"{place} names nobody", "write a NIK a line")
    return Wanted(tuple(niks), tuple(niks.values()), tuple(others))


def _check_value(value: str, where: str, *, taken: bool) -> None:
    if not taken:
        raise UserError(f"{where} has more than a NIK", "leave the rest out")
    if len(value) < SHORTEST:
        raise UserError(
            f"{where} has a value of fewer than {SHORTEST} characters", "leave it out: a short one is found by chance"
        )


def unknown_lines(conn: psycopg.Connection, wanted: Wanted) -> list[int]:
    """The lines of persons of whom neither raw nor vault has a row; `conn` acts as the owner, or role loader."""
    known: set[str] = set()
    of = wanted.participant_tokens(conn)
    for contract in map(load_contract, feeds()):
        if contract.has_nik:
            for schema in ("raw", "vault"):
                rows = conn.execute(
                    sql.SQL("select distinct participant_token from {} where participant_token = any(%s)").format(
                        sql.Identifier(schema, contract.table)
                    ),
                    [of],
                ).fetchall()
                known |= {token for (token,) in rows}
    return [line for token, line in zip(of, wanted.lines, strict=True) if token not in known]
