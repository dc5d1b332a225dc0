"""The process that reads one workbook: its bytes come in as a descriptor, what they say goes out as lines of JSON.

First the top of every sheet, then, when standard input has said which sheet, that sheet's rows. Limits hold for the
whole process, for a library can run out of memory in ways that no caller can catch. It ends with its parent, whose end
of standard input closes then.
"""

import json
import os
import resource
import sys
import threading
from itertools import islice
from typing import Any

from kkbc.intake.spreadsheets.markup import Refused
from kkbc.intake.spreadsheets.package import Budget
from kkbc.intake.spreadsheets.sheet import Row, rows
from kkbc.intake.spreadsheets.workbook import Workbook, open_workbook

MEMORY = 320 * 2**20
SECONDS = 180
_FRAME = 2**16
_STDIN, _STDOUT = 0, 1


def main() -> None:
    """Arguments: the descriptor of the workbook, and how many rows of each sheet to show first."""
    descriptor, top = map(int, sys.argv[-2:])
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CPU, SECONDS)
    for nothing in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        _limit(nothing, 0)
    threading.stack_size(2**18)
    orders = _Orders()
    try:
        with os.fdopen(descriptor, "rb") as stream:
            size = os.fstat(descriptor).st_size
            _read(open_workbook(stream, size), Budget(size), top, orders)
    except BrokenPipeError:
        os._exit(0)
    except Refused as error:
        _send({"type": "refused", "detail": str(error)})
    except MemoryError:
        _send({"type": "refused", "detail": "the workbook takes more memory than one may"})
    except Exception as error:
        _send({"type": "refused", "detail": f"the workbook is damaged or cut off ({type(error).__name__})"})
    os._exit(0)


def _read(workbook: Workbook, budget: Budget, top: int, orders: "_Orders") -> None:
    for sheet in workbook.sheets:
        first = list(islice(rows(workbook, sheet, budget), top))
        _send({"type": "sheet", "name": sheet.name, "hidden": sheet.hidden, "top": first})
    _send({"type": "sheets", "date1904": workbook.date1904})
    chosen = workbook.sheets.pop(orders.wait())
    ready: list[Row] = []
    size = 0
    for line, cells in rows(workbook, chosen, budget):
        ready.append((line, cells))
        size += sum(len(cell) if isinstance(cell, str) else 8 for cell in cells)
        if size > _FRAME:
            _send({"type": "rows", "rows": ready})
            ready, size = [], 0
    _send({"type": "rows", "rows": ready})
    # What a workbook unfolds to counts as a whole, so the others are looked through as well.
    for sheet in workbook.sheets:
        for _ in rows(workbook, sheet, budget):
            pass
    _send({"type": "end"})


class _Orders:
    """Standard input: a line with the number of the sheet to read, then nothing for as long as the parent lives."""

    def __init__(self) -> None:
        self._sheet = 0
        self._received = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def wait(self) -> int:
        """The number of the sheet."""
        self._received.wait()
        return self._sheet

    def _follow(self) -> None:
        line = b""
        while part := os.read(_STDIN, 16):
            line += part
            if line.endswith(b"\n"):
                self._sheet = int(line)
                self._received.set()
        os._exit(0)


def _send(message: dict[str, Any]) -> None:
    left = memoryview(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    while left:
        left = left[os.write(_STDOUT, left) :]


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))
