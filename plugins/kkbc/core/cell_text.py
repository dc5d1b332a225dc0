"""Text in files that people open in a spreadsheet: none of it is run as a formula.

Excel and LibreOffice calculate a cell of a CSV file that begins with =, +, - or @, and a formula can read other files
and call other hosts. Such text gets an apostrophe before it, which a spreadsheet takes for "this is text". Text that
begins with an apostrophe gets another one, so that taking one away from each cell that begins with one gives back what
was there. Numbers are left as they are: only columns of text are looked at.
"""

import re
from typing import Any

import polars as pl
from psycopg import sql

MARK = "'"

# What a spreadsheet passes over before it looks for a formula: blanks of Unicode, and characters that nobody sees.
_PASSED_OVER = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\u00ad"
# The signs, and as East Asian spreadsheets read them too. Tab, CR and LF alone may open a cell of their own.
PATTERN = f"^['\t\r\n]|^[{_PASSED_OVER}]*[=+@\uff1d\uff0b\uff0d\uff20-]"


def as_text(column: pl.Expr) -> pl.Expr:
    """The text of a column as a spreadsheet takes it for text."""
    return column.str.replace(PATTERN, f"{MARK}$0")


def as_text_sql(column: sql.Composable) -> sql.Composed:
    """`as_text` as an expression of PostgreSQL."""
    return sql.SQL("case when {0} ~ {1} then {2} || {0} else {0} end").format(
        column, sql.Literal(PATTERN), sql.Literal(MARK)
    )


def text_of(value: Any) -> Any:
    """A single value: text as a spreadsheet takes it for text, any other as it is."""
    return f"{MARK}{value}" if isinstance(value, str) and re.match(PATTERN, value) else value
