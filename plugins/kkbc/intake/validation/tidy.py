"""Cells as sent become the text that they hold, or no text at all (Exchange rules 24, 26, 27, 28, 31).

Nearly all columns of nearly all files are of plain characters. A look at all characters of a column at once makes sure
of it, and spares its cells the dearer searches.
"""

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from kkbc.exchange.contracts import Column
from kkbc.intake.reading.blanks import INVISIBLE

ILLEGIBLE = "\0"
"""Stands for a cell that has lost its value. No type can be read from it, and no cell can hold it."""

ERRORS = (
    *("#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"),
    "#GETTING_DATA",
)
"""What spreadsheets show in place of a value that they do not have, besides ##### for one that did not fit."""

_LONGEST = "longest:"
_INVISIBLE = f"[{INVISIBLE}]"
# Control characters, and what stands in place of bytes that are no text.
_LOST = r"[\p{Cc}\x{FFFD}--[\t\r\n]]"
_ODD = f"#|{_INVISIBLE}|{_LOST}"
_NO_VALUE = rf"(?i)^(?:{'|'.join(map(re.escape, ERRORS))}|###+)$"
_EATEN = r"^[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-]?[0-9]+$"


def tidy(cells: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """`cells` with the text in place of each cell of `columns`, null where there was none.

    Blanks of every kind around it are off, as well as an apostrophe of Excel's before it, and invisible characters are
    out, wherever they stood. ILLEGIBLE becomes what has a control character, is an error of a spreadsheet's or longer
    than the column allows, and an identifier that a spreadsheet has cut to its first digits.
    """
    names = [column.name for column in columns]
    joined, longest = pl.col(names).str.join(""), pl.col(names).str.len_bytes().max().fill_null(0)
    found = cells.select(joined, longest.name.prefix(_LONGEST)).row(0, named=True)
    return cells.with_columns(
        _text(column, found[column.name], found[_LONGEST + column.name]).alias(column.name) for column in columns
    )


def _text(column: Column, characters: str, longest: int) -> pl.Expr:
    """The text of a column whose cells are made of `characters`, the longest of them of so many bytes."""
    cell, illegible = pl.col(column.name), []
    is_odd = _is_odd(characters)
    if is_odd:
        illegible.append(cell.str.contains(_LOST))
        cell = cell.str.replace_all(_INVISIBLE, "")
    text = cell.str.strip_chars()
    if "'" in characters:
        text = text.str.strip_prefix("'").str.strip_chars()
    if is_odd:
        illegible.append(text.str.contains(_NO_VALUE))
    if column.identifier and ("E" in characters or "e" in characters):
        illegible.append(text.str.contains(_EATEN))
    if longest > column.max_length:
        illegible.append(text.str.len_chars() > column.max_length)
    return pl.when(pl.any_horizontal(illegible)).then(pl.lit(ILLEGIBLE)).otherwise(text) if illegible else text


def _is_odd(characters: str) -> bool:
    """Whether there are any that are invisible, lost or of an error."""
    is_plain = characters.isascii() and "#" not in characters and "\x7f" not in characters
    if is_plain and (not characters or np.frombuffer(characters.encode(), np.uint8).min() >= ord(" ")):
        return False
    return bool(pl.Series([characters]).str.contains(_ODD).item())
