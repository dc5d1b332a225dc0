"""The cells of a sheet, row by row. What the sheet says of its own dimension is not asked."""

import math
from collections.abc import Iterator

from kkbc.intake.spreadsheets.markup import LOCAL, Attributes, Handler, Refused
from kkbc.intake.spreadsheets.package import Budget
from kkbc.intake.spreadsheets.workbook import Sheet, Workbook, unescaped

Value = str | float | bool | tuple[float, bool]
"""A cell: text, a number, a truth value, or the number of a cell formatted as a date or time, and whether that format
counts elapsed hours. Empty cells are empty text."""

Row = tuple[int, list[Value]]
"""Number in the sheet from 1, cells from column A to the last one that holds something."""

MAX_ROWS, MAX_COLUMNS = 2**20, 2**14
MAX_ROW = 2**21
"""Characters of one row; Excel holds 32,767 in a cell."""

ERRORS = frozenset(
    ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#GETTING_DATA"]
)
OTHER_ERROR = "#VALUE!"
"""How an error of another name is shown."""

INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"
"""Zero-width spaces, joiners and marks, the word joiner, the byte order mark, the soft hyphen (Exchange rule 28). It
stands here because the process that reads a workbook loads nothing but this package."""
_NO_INVISIBLE = dict.fromkeys(map(ord, INVISIBLE))
_NUMERIC = {"", "n"}
_DIGITS = "0123456789"


def blank(value: Value) -> bool:
    """Whether a cell holds nothing that can be seen (Exchange rules 14 and 28)."""
    if not isinstance(value, str):
        return False
    text = value.strip()
    return not text or (text[0] in INVISIBLE and not text.translate(_NO_INVISIBLE).strip())


def rows(workbook: Workbook, sheet: Sheet, budget: Budget) -> Iterator[Row]:
    """Rows with a cell that is not blank, in their order. `budget` is spent by their characters and cells.

    Raises Refused, or whatever the standard library raises, for what is damaged or unfolds beyond its bounds.
    """
    cells = _Cells(workbook, budget)
    part = workbook.package.open(sheet.part)
    for _ in cells.feed(part):
        yield from cells.take()


class _Cells(Handler):
    def __init__(self, workbook: Workbook, budget: Budget) -> None:
        super().__init__()
        self._strings, self._dates, self._budget = workbook.strings, workbook.dates, budget
        self._ready: list[Row] = []
        self._columns: dict[str, int] = {}
        self._line = self._last = 0
        self._row: list[Value] = []
        self._size = 0
        self._column = -1
        self._type = self._style = ""
        self._text: list[str] = []
        self._inside = False
        self._hints = 0

    def take(self) -> list[Row]:
        """The rows that are complete, once."""
        ready, self._ready = self._ready, []
        return ready

    def start(self, name: str, attributes: Attributes) -> None:
        tag = LOCAL[name]
        if tag == "c":
            self._start_cell(attributes)
        elif tag == "v":
            if self._inside:
                self.listen(self._add)
        elif tag == "t":
            if self._inside and not self._hints:
                self.listen(self._add)
        elif tag == "row":
            self._start_row(attributes)
        elif tag == "rPh":
            self._hints += 1

    def end(self, name: str) -> None:
        tag = LOCAL[name]
        if tag in {"v", "t"}:
            self.ignore()
        elif tag == "c":
            if self._text or self._type == "e":
                self._end_cell()
            self._inside = False
        elif tag == "row":
            self._end_row()
        elif tag == "rPh":
            self._hints -= 1

    def _add(self, text: str) -> None:
        self._text.append(text)
        self._grow(len(text))

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_ROW:
            raise Refused(f"a row holds more than {MAX_ROW} characters")

    def _start_row(self, attributes: Attributes) -> None:
        self._line = 0
        for number in range(0, len(attributes), 2):
            if attributes[number] == "r":
                self._line = int(attributes[number + 1])
        self._row, self._size, self._column = [], 0, -1

    def _end_row(self) -> None:
        """Rows without a number follow the one before."""
        line = self._line or self._last + 1
        if line <= self._last:
            raise Refused("the rows of a sheet are not in their order")
        if line > MAX_ROWS:
            raise Refused(f"a sheet has more than {MAX_ROWS} rows")
        self._last = line
        if self._row:
            self._budget.spend(self._size + len(self._row))
            if not all(map(blank, self._row)):
                self._ready.append((line, self._row))
        self._row = []

    def _start_cell(self, attributes: Attributes) -> None:
        reference = self._type = self._style = ""
        for number in range(0, len(attributes), 2):
            name = attributes[number]
            if name == "r":
                reference = attributes[number + 1]
            elif name == "t":
                self._type = attributes[number + 1]
            elif name == "s":
                self._style = attributes[number + 1]
        if reference:
            letters = reference.rstrip(_DIGITS)
            column = self._columns.get(letters)
            self._column = self._new_column(letters) if column is None else column
            if not self._line:
                self._line = int(reference[len(letters) :])
        else:
            self._column += 1
        self._inside = True
        self._text.clear()

    def _new_column(self, letters: str) -> int:
        number = 0
        for letter in letters.upper():
            if not "A" <= letter <= "Z" or number > MAX_COLUMNS:
                raise Refused("a cell's reference is no reference")
            number = number * 26 + ord(letter) - 64
        column = self._columns[letters] = number - 1
        return column

    def _end_cell(self) -> None:
        value = self._value("".join(self._text))
        if value == "":
            return
        gap = self._column - len(self._row)
        if gap == 0:
            self._row.append(value)
        elif gap > 0:
            if self._column >= MAX_COLUMNS:
                raise Refused(f"a sheet has more than {MAX_COLUMNS} columns")
            self._row.extend([""] * gap)
            self._row.append(value)
        else:
            self._row[self._column] = value

    def _value(self, text: str) -> Value:
        """The value of a cell of the type at hand. A formula's is what it came to when the workbook was stored."""
        kind = self._type
        if kind == "s":
            shared = self._strings[int(text)]
            self._grow(len(shared))
            return shared
        if kind in _NUMERIC:
            return self._number(text)
        if kind == "b":
            return text.strip() in {"1", "true"}
        if kind == "e":
            return text if text in ERRORS else OTHER_ERROR
        return unescaped(text)

    def _number(self, text: str) -> Value:
        try:
            number = float(text)
        except ValueError:
            return unescaped(text)
        if not math.isfinite(number) or "_" in text:
            return text
        elapsed = self._dates.get(self._style or "0")
        return number if elapsed is None else (number, elapsed)
