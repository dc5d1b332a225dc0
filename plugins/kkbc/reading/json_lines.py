"""JSON lines: every line an object, whose keys are spelt as freely as headers are."""

import json
from collections.abc import Iterator
from typing import Any

from kkbc.contracts import Column, Contract
from kkbc.errors import SliceRejected
from kkbc.reading.batches import Cells, Dialect, Reading, Row, frames
from kkbc.reading.header import MAX_EXTRA, normalise
from kkbc.reading.numerals import amount
from kkbc.reading.text import Text


class _Object(list[tuple[str, Any]]):
    """The pairs of a JSON object in their order, so that a key that comes twice is seen."""


class _Fraction(str):
    """The literal of a number with a fraction or an exponent. Whole numbers need no mark: theirs is their text."""

    __slots__ = ()


_KNOWN_ORDERS = 1000

# NaN and Infinity are no JSON, but many writers write them: they count as the text they are.
_decode = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=_Fraction, parse_constant=str).decode


def read_json_lines(
    text: Text, file_format: str, contract: Contract, batch_rows: int, *, expected_rows: int
) -> Reading:
    """Rows of JSON lines (Exchange rule 19). There is no header, so blank lines alone are as lawful as no bytes at all.

    While the batches are consumed SliceRejected may come: UNREADABLE for a line that is no JSON, HEADER for a known key
    twice in one object, and at the end HEADER for a required column that no line has.
    """
    encoding = "utf-8-sig" if text.bom and text.encoding == "utf-8" else text.encoding
    reading = Reading(file_format, Dialect(encoding=encoding))
    reading.batches = frames(_rows(text, contract, reading, expected_rows), contract, batch_rows)
    return reading


def _rows(text: Text, contract: Contract, reading: Reading, expected_rows: int) -> Iterator[Row]:
    keys = _Keys(contract, reading.extra_columns)
    blank = True
    for line, sent in enumerate(text.lines(), start=1):
        if not sent.strip():
            continue
        raw = sent.rstrip("\r\n")
        value = _parse(raw, line)
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
        self._places: dict[tuple[str, ...], list[int | None]] = {}
        self._extra = extra

    def cells(self, pairs: _Object, raw: str, line: int) -> Cells:
        """The values of one object in the order of the contract."""
        keys = tuple([key for key, _ in pairs])
        places = self._places.get(keys)
        if places is None:
            places = self._look_up(keys, line)
        cells: list[str | None] = [None] * len(self._columns)
        for place, (key, value) in zip(places, pairs, strict=True):
            if place is not None:
                cells[place] = value if type(value) is str else _text(value, self._columns[place], raw, key)
        if "\\u" in raw and not _storable("".join(cell for cell in cells if cell)):
            raise SliceRejected("UNREADABLE", f"line {line} escapes a character that no text can hold")
        return cells

    def _look_up(self, keys: tuple[str, ...], line: int) -> list[int | None]:
        """Where the values of these keys go. Nearly all lines of a file have the same keys: looked up once."""
        places = [self._by_wire.get(normalise(key)) for key in keys]
        for key, place in zip(keys, places, strict=True):
            if place is not None:
                if places.count(place) > 1:
                    raise SliceRejected("HEADER", f"line {line}: column {self._columns[place].wire} comes twice")
                self.seen[place] = True
            elif len(self._extra) < MAX_EXTRA and key not in self._extra:
                self._extra.append(key)
        if len(self._places) < _KNOWN_ORDERS:
            self._places[keys] = places
        return places


def _parse(raw: str, line: int) -> Any:
    try:
        return _decode(raw)
    except json.JSONDecodeError as error:
        raise SliceRejected("UNREADABLE", f"line {line} is no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise SliceRejected("UNREADABLE", f"line {line} is no JSON that can be read: nested too deep") from None


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(value: Any, column: Column, raw: str, key: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, _Fraction):
        return amount(value) if column.type in {"int", "idr"} else str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(json.loads(raw)[key], ensure_ascii=False)


def _storable(text: str) -> bool:
    """Whether a database can hold `text`: JSON can escape NUL and halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
