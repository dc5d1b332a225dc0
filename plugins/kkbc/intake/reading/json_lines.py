"""JSON lines: every line an object, whose keys are spelt as freely as headers are."""

import json
from collections.abc import Iterator
from typing import Any

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import Column, Contract
from kkbc.intake.reading.batches import Cells, Dialect, Reading, Row, frames
from kkbc.intake.reading.blanks import UNSEEN, is_blank
from kkbc.intake.reading.header import MAX_COLUMNS, MAX_EXTRA, MAX_NAME, normalise
from kkbc.intake.reading.numerals import amount
from kkbc.intake.reading.text import Text


class _Object(list[tuple[str, Any]]):
    """The pairs of a JSON object in their order, so that a key that comes twice is seen."""

    __slots__ = ()


class _Fraction(str):
    """The literal of a number with a fraction or an exponent. Whole numbers need no mark: theirs is their text."""

    __slots__ = ()


MAX_VALUES = 100_000
"""A line of more values than that is no row, and would take many times its length of memory."""

_KNOWN_KEYS = 10_000
_KNOWN_ORDERS = 100
_USUAL_KEYS = 200

# NaN and Infinity are no JSON, but many writers write them: they count as the text they are. No digits are ever
# counted together: a number may have any number of them.
_decoder = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=_Fraction, parse_constant=str)


def read_json_lines(
    text: Text, file_format: str, contract: Contract, batch_rows: int, *, expected_rows: int
) -> Reading:
    """Rows of JSON lines (Exchange rule 19). There is no header, so blank lines alone are as valid as no bytes at all.

    While the batches are consumed SliceRejected may come: UNREADABLE for a line that is no JSON, HEADER for a known key
    twice in one object or more than MAX_COLUMNS keys, and at the end HEADER for a required column that no line has.
    """
    reading = Reading(file_format, Dialect(encoding=text.dialect_encoding))
    reading.batches = frames(_rows(text, contract, reading, expected_rows), contract, batch_rows)
    return reading


def _rows(text: Text, contract: Contract, reading: Reading, expected_rows: int) -> Iterator[Row]:
    keys = _Keys(contract, reading.extra_columns)
    blank = True
    for line, sent in enumerate(text.lines(), start=1):
        if is_blank(sent):
            continue
        raw = sent.rstrip("\r\n")
        value = _parse(raw.strip(UNSEEN), line)
        if not isinstance(value, _Object):
            blank = False
            yield line, raw, None
        elif any(not _empty(item) for _, item in value):
            blank = False
            yield line, raw, keys.cells(value, raw, line)
    if blank and expected_rows == 0:
        return
    absent = [column for column, seen in zip(contract.columns, keys.seen, strict=True) if not seen]
    lacking = [column.wire for column in absent if column.required]
    if lacking:
        raise SliceRejected("HEADER", f"required columns are in no line: {', '.join(lacking)}")
    reading.missing_columns += [column.wire for column in absent]


class _Keys:
    """Which column each key means, which columns were seen, and the drift so far."""

    def __init__(self, contract: Contract, extra: list[str]) -> None:
        self.seen = [False] * len(contract.columns)
        self._columns = contract.columns
        self._by_wire = {normalise(column.wire): place for place, column in enumerate(contract.columns)}
        self._by_key: dict[str, int | None] = {}
        self._places: dict[tuple[str, ...], list[int | None]] = {}
        self._extra = extra

    def cells(self, pairs: _Object, raw: str, line: int) -> Cells:
        """The values of one object in the order of the contract.

        NUL, which no store can hold, refuses the slice (Exchange rule 28); half a surrogate pair, which is no character
        at all, becomes U+FFFD, as bytes do that are none.
        """
        keys = tuple([key for key, _ in pairs])
        places = self._places.get(keys)
        if places is None:
            places = self._look_up(keys, line)
        cells: list[str | None] = [None] * len(self._columns)
        for place, (key, value) in zip(places, pairs, strict=True):
            if place is not None:
                cells[place] = value if type(value) is str else _text(value, self._columns[place], raw, key)
        if "\\u" not in raw:
            return cells
        if any(cell and "\0" in cell for cell in cells):
            raise SliceRejected("UNREADABLE", f"line {line} escapes a character that no text can hold")
        return [cell and _whole(cell) for cell in cells]

    def _look_up(self, keys: tuple[str, ...], line: int) -> list[int | None]:
        """Where the values of these keys go. Nearly all lines of a file have the same keys: looked up once."""
        if len(keys) > MAX_COLUMNS:
            raise SliceRejected("HEADER", f"line {line} has more than {MAX_COLUMNS} keys")
        places = [self._place(key) for key in keys]
        for key, place in zip(keys, places, strict=True):
            if place is not None:
                if places.count(place) > 1:
                    raise SliceRejected("HEADER", f"line {line}: column {self._columns[place].wire} comes twice")
                self.seen[place] = True
            elif len(self._extra) < MAX_EXTRA and (name := key[:MAX_NAME]) not in self._extra:
                self._extra.append(name)
        if len(self._places) < _KNOWN_ORDERS and len(keys) <= _USUAL_KEYS and max(map(len, keys)) <= MAX_NAME:
            self._places[keys] = places
        return places

    def _place(self, key: str) -> int | None:
        """The column that `key` means, None for none. Kept, for the orders of the same keys may be many."""
        if key in self._by_key:
            return self._by_key[key]
        place = self._by_wire.get(normalise(key))
        if len(self._by_key) < _KNOWN_KEYS and len(key) <= MAX_NAME:
            self._by_key[key] = place
        return place


def _parse(raw: str, line: int) -> Any:
    if len(raw) > MAX_VALUES and raw.count(",") + raw.count("[") + raw.count("{") > MAX_VALUES:
        raise SliceRejected("UNREADABLE", f"line {line} holds more than {MAX_VALUES} values")
    try:
        return _decoder.decode(raw)
    except json.JSONDecodeError as error:
        raise SliceRejected("UNREADABLE", f"line {line} is no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise SliceRejected("UNREADABLE", f"line {line} is no JSON that can be read: nested too deep") from None


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value))


def _text(value: Any, column: Column, raw: str, key: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, _Fraction):
        return amount(value) if column.type in {"int", "idr"} else str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return _as_sent(raw, key)


def _as_sent(raw: str, wanted: str) -> str:
    """The JSON text of the value of key `wanted` in the object `raw`, which is known to be one that has it."""
    at = raw.index("{") + 1
    while True:
        key, at = _decoder.raw_decode(raw, _past_blanks(raw, at))
        start = _past_blanks(raw, _past_blanks(raw, at) + 1)
        _, at = _decoder.raw_decode(raw, start)
        if key == wanted:
            return raw[start:at]
        at = _past_blanks(raw, at) + 1


def _past_blanks(raw: str, at: int) -> int:
    """Behind the blanks that JSON allows between its parts; there, a colon or comma is next where one is due."""
    while raw[at] in " \t\r\n":
        at += 1
    return at


def _whole(text: str) -> str:
    """`text` with U+FFFD for halves of surrogate pairs, which JSON can escape."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
