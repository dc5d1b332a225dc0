"""The terminal: results to stdout, everything else to stderr, colours and bars only where a person looks on."""

import getpass
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from kkbc.core.errors import UserError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def complain(error: UserError) -> None:
    """One line: what is wrong, and what fixes it."""
    err.print(f"[red]kkbc: {escape(str(error))}[/red]", soft_wrap=True)


def say(line: str) -> None:
    """A line for the person, not part of the result."""
    err.print(escape(line), soft_wrap=True)


@contextmanager
def bar(task: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for the length of a block, moved by calls with the parts done and in all; only where a person looks on."""
    with Progress(console=err, transient=True, disable=not err.is_terminal) as shown:
        moved = shown.add_task(task, total=None)
        yield lambda done, total: shown.update(moved, completed=done, total=total)


def place(path: Path) -> str:
    """Where a page is: an address that a terminal opens by a click where a person looks on, else the path."""
    return path.absolute().as_uri() if out.is_terminal else str(path)


def print_json(value: Any) -> None:
    """JSON on stdout, as scripts read it."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def who() -> str:
    """The account that does it, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def number(value: Any) -> str:
    """A whole number with Indonesian grouping: 1.234.567; a dash for nothing."""
    return "-" if value is None else f"{int(value):,}".replace(",", ".")


def percent(value: Any) -> str:
    """A share as percent with one decimal, Indonesian style: 12,3 %; a dash for nothing."""
    return "-" if value is None else f"{100 * float(value):.1f} %".replace(".", ",")
