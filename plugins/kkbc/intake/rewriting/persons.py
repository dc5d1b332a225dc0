"""Whom a rewriting takes out: persons by their NIKs, and by what else is known to be theirs alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from kkbc.core.needles import SHORTEST, Needles, same_text
from kkbc.exchange.contracts import Column, Contract
from kkbc.exchange.nik import DATED
from kkbc.intake.validation.parse import MISSING
from kkbc.intake.validation.tidy import ILLEGIBLE, tidy

_TELLING = {"full_name", "kpj"}
"""Columns of the contracts by which a person is known, besides the NIK and the contacts."""


@dataclass(frozen=True)
class Persons:
    """Some persons. `values` are texts that belong to them and to nobody else: names, phone numbers, e-mails.

    Values of less than five characters are not looked for: they stand in every file by chance.
    """

    niks: frozenset[str] = field(repr=False)
    values: frozenset[str] = field(default=frozenset(), repr=False)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What is looked for; a quote may also be doubled or have a backslash before it, as inside quotes."""
        texts = {value.strip() for value in (*self.niks, *self.values)}
        quoted = {text.replace(q, made) for text in texts for q in "\"'" for made in (q * 2, f"\\{q}") if q in text}
        return tuple(sorted(text for text in texts | quoted if len(text) >= SHORTEST))

    @cached_property
    def needles(self) -> Needles:
        """Searches for them, in any spelling."""
        return Needles(self.texts)

    def rows(self, batch: pl.DataFrame, contract: Contract) -> pl.Series:
        """Which rows of a batch, as the reader gives it, hold something of them: as sent, or in a cell as read."""
        cells = [pl.col(column.name) for column in contract.columns]
        return self.needles.found_in(
            batch.select(pl.concat_str("_raw", *cells, separator="\x01", ignore_nulls=True)).to_series()
        )


def values_of(rows: Iterable[pl.DataFrame], contract: Contract, niks: frozenset[str]) -> dict[str, frozenset[str]]:
    """By column, what rows with one of these NIKs say of the persons: names, phone numbers, e-mails, card numbers.

    `rows` are as the reader gives them. Whether a value belongs to nobody else is for the caller to find out.
    """
    if contract.nik is None:
        return {}
    columns = [column for column in contract.columns if _tells(column)]
    found: dict[str, set[str]] = {column.name: set() for column in columns}
    for batch in rows:
        cells = tidy(batch.filter("_shape_ok"), [contract.column(contract.nik), *columns])
        theirs = cells.filter(pl.col(contract.nik).is_in(sorted(niks)))
        for column in columns:
            missing = {"", ILLEGIBLE, *(text.lower() for text in MISSING)} - set(column.not_missing)
            values = theirs[column.name].drop_nulls().to_list()
            found[column.name] |= {value for value in values if value.lower() not in missing}
    return {name: frozenset(values) for name, values in found.items()}


def values_of_others(
    rows: Iterable[pl.DataFrame], contract: Contract, niks: frozenset[str], values: frozenset[str]
) -> frozenset[str]:
    """Those of the values that stand in rows of others: with a NIK that is none of these, and in one cell alone.

    A row with a name and a telephone number of theirs is taken for theirs, with a NIK that was mistyped.
    """
    if contract.nik is None or not values:
        return frozenset()
    persons, others = Persons(frozenset(), values), Persons(niks)
    columns = [column for column in contract.columns if column.name != contract.nik]
    texts: list[list[str]] = []
    for batch in rows:
        held = batch.filter(persons.rows(batch, contract) & ~others.rows(batch, contract) & pl.col("_shape_ok"))
        cells = tidy(held, [contract.column(contract.nik), *columns])
        another = cells.filter(pl.col(contract.nik).str.contains(f"^{DATED}$"))
        texts += [[text for text in row if text] for row in another.select(c.name for c in columns).iter_rows()]
    flat = persons.needles.found_in(pl.Series([text for row in texts for text in row], dtype=pl.String)).to_list()
    hits = iter(flat)
    alone = [own[0] for row in texts if len(own := [text for text in row if next(hits)]) == 1]
    shared = {same_text(persons.texts[n - 1]) for text in alone for n in persons.needles.count(text.encode())}
    return frozenset(value for value in values if same_text(value) in shared)


def _tells(column: Column) -> bool:
    return column.is_contact or column.name in _TELLING
