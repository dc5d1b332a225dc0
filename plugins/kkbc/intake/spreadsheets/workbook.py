"""A workbook: its sheets in their order, and what all of them share: strings, formats of dates, the date system."""

import re
from array import array
from typing import IO, NamedTuple

from kkbc.intake.spreadsheets.markup import LOCAL, Attributes, Handler, Refused, attribute
from kkbc.intake.spreadsheets.package import Package

MAX_FORMATS = 2**16
"""Formats of cells that are looked at; Excel knows 65,490."""

MAX_STRINGS = 128 * 2**20
"""Bytes that the shared strings may take."""

SUBSTITUTE = "\ufffd"
"""Stands for what no store can hold (NUL, half a surrogate pair), which escapes can spell; it makes a value invalid."""

_USUAL_PLACE = "/xl/workbook.xml"
_TRUE = {"1", "true", "on"}
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_UNFIT = re.compile("[\0\ud800-\udfff]")

# Formats by number that Excel does not write out: dates and times, and the one that counts hours.
_DATE_FORMATS = {*range(14, 23), 45, 47}
_ELAPSED_FORMATS = {46}
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.')
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_BRACKETS = re.compile(r"\[[^\]]*\]")


class Sheet(NamedTuple):
    """A worksheet: its name, its part of the package, and whether people do not see it."""

    name: str
    part: str
    hidden: bool


class Workbook(NamedTuple):
    """What there is to know before cells are read. `dates` says of cell formats that are dates whether they count
    elapsed hours; visible sheets come first (Exchange rule 29). `strings_part` has the strings; "": none."""

    package: Package
    sheets: list[Sheet]
    strings: "Strings"
    dates: dict[str, bool]
    date1904: bool
    strings_part: str


def open_workbook(stream: IO[bytes], size: int) -> Workbook:
    """Raises Refused, or whatever the standard library raises, for what is damaged or unfolds beyond its bounds."""
    package = Package(stream, size)
    place = next((target for kind, target in package.relations("").values() if kind == "officeDocument"), _USUAL_PLACE)
    if not package.has_part(place):
        raise Refused("a zip archive, but not an .xlsx workbook")
    relations = package.relations(place)
    contents = _Contents()
    contents.read(package, place)
    if not contents.sheets:
        raise Refused("a zip archive, but not an .xlsx workbook")
    sheets = []
    for name, relation, hidden in contents.sheets:
        if relation not in relations:
            raise Refused("a sheet of the workbook is missing")
        kind, target = relations[relation]
        if kind == "worksheet":
            sheets.append(Sheet(name, target, hidden))
    parts = dict(relations.values())
    strings, styles = _SharedStrings(), _Styles()
    if package.has_part(parts.get("sharedStrings", "")):
        strings.read(package, parts["sharedStrings"])
    if package.has_part(parts.get("styles", "")):
        styles.read(package, parts["styles"])
    return Workbook(
        package,
        sorted(sheets, key=lambda sheet: sheet.hidden),
        strings.found,
        styles.dates(),
        contents.date1904,
        parts.get("sharedStrings", ""),
    )


def unescaped(text: str) -> str:
    """`text` with characters such as _x000D_ for what they stand for."""
    if "_x" not in text:
        return text
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    text = _PAIR.sub(lambda found: found[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)
    return _UNFIT.sub(SUBSTITUTE, text)


class Strings:
    """Many strings in little room."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("I", [0])

    def append(self, text: str) -> None:
        """Raises Refused when they take too much room."""
        self._text += text.encode()
        self._ends.append(len(self._text))
        if len(self._text) + len(self._ends) * self._ends.itemsize > MAX_STRINGS:
            raise Refused(f"the shared strings take more than {MAX_STRINGS} bytes")

    def __getitem__(self, number: int) -> str:
        if number < 0:
            raise IndexError(number)
        return self._text[self._ends[number] : self._ends[number + 1]].decode()


class _Whole(Handler):
    """A part that is read as a whole."""

    def read(self, package: Package, name: str) -> None:
        for _ in self.feed(package.open(name)):
            pass


class _Contents(_Whole):
    """The part that names the sheets."""

    def __init__(self) -> None:
        super().__init__()
        self.date1904 = False
        self.sheets: list[tuple[str, str, bool]] = []

    def start(self, name: str, attributes: Attributes) -> None:
        tag = LOCAL[name]
        if tag == "workbookPr":
            self.date1904 = attribute(attributes, "date1904") in _TRUE
        elif tag == "sheet":
            state = attribute(attributes, "state", "visible")
            sheet = unescaped(attribute(attributes, "name"))
            self.sheets.append((sheet, attribute(attributes, "id"), state != "visible"))


class _SharedStrings(_Whole):
    """Strings that cells name by number. They may be of several runs; those of phonetic hints are no part of them."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Strings()
        self._runs: list[str] = []
        self._length = 0
        self._hints = 0

    def start(self, name: str, attributes: Attributes) -> None:
        tag = LOCAL[name]
        if tag == "t":
            if not self._hints:
                self.listen(self._add)
        elif tag == "rPh":
            self._hints += 1

    def _add(self, run: str) -> None:
        self._runs.append(run)
        self._length += len(run)
        if self._length > MAX_STRINGS:
            raise Refused(f"the shared strings take more than {MAX_STRINGS} bytes")

    def end(self, name: str) -> None:
        tag = LOCAL[name]
        if tag == "t":
            self.ignore()
        elif tag == "rPh":
            self._hints -= 1
        elif tag == "si":
            self.found.append(unescaped("".join(self._runs)))
            self._runs.clear()
            self._length = 0


class _Styles(_Whole):
    """The formats of cells, of which only those of dates and times matter."""

    def __init__(self) -> None:
        super().__init__()
        self._codes: dict[str, str] = {}
        self._formats: list[str] = []
        self._cells = False

    def start(self, name: str, attributes: Attributes) -> None:
        tag = LOCAL[name]
        if tag == "numFmt":
            self._codes[attribute(attributes, "numFmtId")] = attribute(attributes, "formatCode")
        elif tag == "cellXfs":
            self._cells = True
        elif tag == "xf" and self._cells and len(self._formats) < MAX_FORMATS:
            self._formats.append(attribute(attributes, "numFmtId", "0"))

    def end(self, name: str) -> None:
        tag = LOCAL[name]
        if tag == "cellXfs":
            self._cells = False

    def dates(self) -> dict[str, bool]:
        """Cell formats, as cells name them, that are dates or times: whether they count elapsed hours."""
        kinds = {number: self._elapsed(number) for number in set(self._formats)}
        found = {}
        for number, kind in enumerate(map(kinds.__getitem__, self._formats)):
            if kind is not None:
                found[str(number)] = kind
        return found

    def _elapsed(self, number: str) -> bool | None:
        """Whether a date format counts elapsed hours; None for what is no date format."""
        code = self._codes.get(number)
        if code is None:
            known = int(number) if number.isdecimal() and len(number) < 4 else 0
            return known in _ELAPSED_FORMATS if known in _DATE_FORMATS | _ELAPSED_FORMATS else None
        code = _LITERAL.sub("", code).partition(";")[0]
        if _ELAPSED.search(code):
            return True
        return False if set(_BRACKETS.sub("", code).lower()) & set("dmyhs") else None
