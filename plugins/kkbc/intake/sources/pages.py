"""A page of an API's answer: its items as they were spelt, the way to the next page, and how many there are in all."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from kkbc.intake.reading.text import CONTROL_CHARACTERS

_decode = json.JSONDecoder().raw_decode
_BLANKS = " \t\r\n"
# Of which a thousand are asked for.
_MOST_ITEMS = 100_000
_ONE_LINE = str.maketrans("\r\n", "  ")


@dataclass
class Page:
    """`items` are the JSON texts of `data`, each on one line. None for what is left out or null."""

    items: list[str] = field(default_factory=list)
    next_cursor: str | None = None
    total: int | None = None


def parse_page(content: bytes) -> Page:
    """Reads `{"data": [...], "next_cursor": "..." | null, "total": N}`, whatever else may stand in it.

    The items keep their spelling (1.50 stays 1.50), for what they say is for the reader of JSON lines to find out, by
    the same decoder as here. Raises ValueError for what is no such JSON, RecursionError for what is nested too deep.
    """
    text = _text(content)
    page, has_data = Page(), False

    def item(at: int) -> int:
        _, end = _decode(text, at)
        if len(page.items) == _MOST_ITEMS:
            raise ValueError("items without measure")
        # Within JSON, line breaks that are not escaped can only be blanks between its parts.
        page.items.append(text[at:end].translate(_ONE_LINE))
        return end

    def member(at: int) -> int:
        nonlocal has_data
        key, at = _decode(text, at)
        at = _past(text, _skip(text, at), ":")
        if key == "data" and text.startswith("[", at):
            has_data = True
            return _sequence(text, at + 1, "]", item)
        value, at = _decode(text, at)
        if key == "data" and value is None:
            has_data = True
        elif key == "next_cursor":
            page.next_cursor = None if value in (None, "") else _cursor(value)
        elif key == "total" and value is not None:
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError("total is no whole number")
            page.total = value
        return at

    end = _sequence(text, _past(text, _skip(text, 0), "{"), "}", member)
    if _skip(text, end) != len(text) or not has_data:
        raise ValueError("no page")
    return page


def _cursor(value: object) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError("next_cursor is no text")
    return str(value)


def _text(content: bytes) -> str:
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        return content.decode("windows-1252", CONTROL_CHARACTERS)


def _sequence(text: str, at: int, closing: str, read: Callable[[int], int]) -> int:
    """Goes through members or items separated by commas, from behind the opening bracket to behind the closing one."""
    at = _skip(text, at)
    if text.startswith(closing, at):
        return at + 1
    while True:
        at = _skip(text, read(at))
        if text.startswith(closing, at):
            return at + 1
        at = _past(text, at, ",")


def _past(text: str, at: int, sign: str) -> int:
    """Behind `sign` and the blanks that follow it."""
    if not text.startswith(sign, at):
        raise ValueError(f"{sign} expected at character {at + 1}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at
