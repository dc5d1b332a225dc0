"""Workbooks (.xlsx): the first sheet with a header of the feed, its cells as the text that validation reads.

A process of its own reads the workbook, see `kkbc.intake.spreadsheets`; here arrive rows of cells, a few at a time.
"""

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

import kkbc
from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import Contract
from kkbc.intake.reading.batches import Dialect, Layout, Reading, Row, frames
from kkbc.intake.reading.cells import plain, render
from kkbc.intake.reading.header import MAX_TITLES, Header, search
from kkbc.intake.spreadsheets.messages import End, Message, Refused, Rows, Sheet, Sheets, decode
from kkbc.intake.spreadsheets.sheet import Value, blank

# The standard library alone, whatever the environment says: it starts in a few hundredths of a second.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from kkbc.intake.spreadsheets.child import main; main()"
_PACKAGES = str(Path(kkbc.__file__).parents[1])
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"} | {k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"}
_LONGEST_MESSAGE = 64 * 2**20

_DEATHS: dict[int, str] = {
    signal.SIGABRT: "it ran out of memory",
    signal.SIGKILL: "it was killed",
    signal.SIGXCPU: "it took too long",
}


@dataclass(frozen=True)
class _Place:
    """Where a candidate for the header stands, and how many columns at its left are empty."""

    sheet: int
    name: str
    line: int
    left: int


def read_workbook(path: Path, contract: Contract, batch_rows: int) -> Reading:
    """Rows of the first visible sheet whose top holds a header, else of the first hidden one (Exchange rule 29).

    Raises SliceRejected UNREADABLE or HEADER.
    """
    child = _Child(path)
    sheets: list[Sheet] = []
    place, header = search(_candidates(child.sheets(), sheets), contract)
    hidden, others = sheets[place.sheet].hidden, []
    for sheet in child.sheets():
        if not hidden and not sheet.hidden and _fits(sheet, contract):
            others.append(sheet.name)
    return Reading(
        format="xlsx",
        dialect=Dialect(header_line=place.line, sheet=place.name),
        extra_columns=list(header.extra),
        missing_columns=list(header.missing),
        other_sheets=others,
        batches=frames(_rows(child, place, header, contract), contract, batch_rows),
        layout=Layout(header.names, header.positions, sheet=place.sheet),
    )


def _candidates(sheets: Iterator[Sheet], seen: list[Sheet]) -> Iterator[tuple[_Place, list[str]]]:
    for number, sheet in enumerate(sheets):
        seen.append(sheet)
        for line, values in sheet.top:
            cells = [plain(value) for value in values]
            while cells and blank(cells[-1]):
                cells.pop()
            left = next((at for at, cell in enumerate(cells) if cell), 0)
            yield _Place(number, sheet.name, line, left), cells


def _fits(sheet: Sheet, contract: Contract) -> bool:
    try:
        search(_candidates(iter([sheet]), []), contract)
    except SliceRejected:
        return False
    return True


def _rows(child: "_Child", place: _Place, header: Header, contract: Contract) -> Iterator[Row]:
    columns = list(zip(contract.columns, header.positions, strict=True))
    date1904 = child.date1904
    for line, values in child.rows(place.sheet):
        if line <= place.line:
            continue
        texts = [value if type(value) is str else plain(value, date1904) for value in values]
        raw = "\t".join(texts[place.left :] if not any(texts[: place.left]) else texts)
        cells = None
        if all(map(blank, values[header.width :])):
            values += [""] * (header.width - len(values))
            cells = [None if at is None else render(values[at], column, date1904) for column, at in columns]
        yield line, raw, cells


class _Child:
    """The process that reads one workbook. It does not outlive this object."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as stream:
            self._process = _start(stream.fileno())
        self.date1904 = False
        self._all_sheets = False
        weakref.finalize(self, _end, self._process)

    def sheets(self) -> Iterator[Sheet]:
        """The sheets that have not been asked for yet."""
        while not self._all_sheets:
            message = self._hear()
            if isinstance(message, Sheet):
                yield message
            elif isinstance(message, Sheets):
                self.date1904, self._all_sheets = message.date1904, True

    def rows(self, sheet: int) -> Iterator[tuple[int, list[Value]]]:
        """Rows of the sheet of that number. Can be asked for once, when all sheets have been seen."""
        self._say(sheet)
        while not isinstance(message := self._hear(), End):
            if isinstance(message, Rows):
                yield from message.rows
        _end(self._process)

    def _say(self, number: int) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # what has become of it is heard next
            self._process.stdin.write(f"{number}\n".encode())
            self._process.stdin.flush()

    def _hear(self) -> Message:
        """The next message. Raises SliceRejected UNREADABLE when the process refuses the workbook, or is no more."""
        assert self._process.stdout
        line = self._process.stdout.readline(_LONGEST_MESSAGE)
        try:
            message: Message = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            _end(self._process)
            cause = _DEATHS.get(-self._process.returncode, f"status {self._process.returncode}")
            raise SliceRejected("UNREADABLE", f"the process that reads the workbook ended: {cause}") from None
        if isinstance(message, Refused):
            _end(self._process)
            raise SliceRejected("UNREADABLE", message.detail)
        return message


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, _PACKAGES, str(descriptor), str(MAX_TITLES + 1)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[descriptor],
            env=_ENVIRONMENT,
            cwd="/",
        )
    except OSError as error:
        raise SliceRejected("UNREADABLE", f"no process to read workbooks can start: {error.strerror}") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process if it still runs, and forgets it."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(BrokenPipeError):
                pipe.close()
    process.wait()
