"""Files for people: whole or not there, never written through a link that somebody laid, closed to others unless asked.

`close_to_others` is called once where a process begins; from then on all that it makes is its owner's alone.
"""

import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings

PRIVATE_UMASK = 0o077

_callers_umask: int | None = None


def close_to_others() -> None:
    """What this process and its children make from now on, only its owner may read."""
    global _callers_umask
    before = os.umask(PRIVATE_UMASK)
    if _callers_umask is None:
        _callers_umask = before


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A new file next to `path` to write to, which takes its place when the block ends well and goes when it does not.

    Its name cannot be foreseen and nothing lay there before, so that no link leads it elsewhere; where `path` is a link
    itself, the link is replaced and what it leads to left alone. `private`, and all below the home: mode 0600; else
    that of any new file of the caller's shell. Raises OSError when it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    made = Path(name)
    try:
        yield made
        made.chmod(0o600 if private else 0o666 & ~_umask_for(path))
        made.replace(path)
    except OSError as error:
        if error.filename is None:  # as when the disk is full: people are told of what
            error.filename = str(path)
        raise
    finally:
        made.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """A folder for files that the caller asked for, with those above it, as the caller's shell would make them.

    Below the home it is its owner's alone.
    """
    before = os.umask(_umask_for(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(before)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, in place of the one that is there."""
    with replacing(path, private=True) as made:
        made.write_text(text, encoding="utf-8")


def read_private(path: Path, what: str, *, missing: str) -> bytes:
    """What a file holds that only its owner may read, such as a key or the persons of a request.

    Raises UserError, which calls it `what`, when it is not there (`missing` is the remedy), cannot be read, or others
    may read it.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{what} {path} does not exist", missing) from None
    except PermissionError:
        raise UserError(f"{what} {path} may not be read", "run as the user who owns it") from None
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read: {error.strerror}", missing) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"{what} {path} can be read by others", f"chmod 600 {shlex.quote(str(path))}")
    return content


def _umask_for(path: Path) -> int:
    if path.parent.resolve().is_relative_to(get_settings().home.resolve()):
        return PRIVATE_UMASK
    return _umask_of_caller()


def _umask_of_caller() -> int:
    if _callers_umask is not None:
        return _callers_umask
    current = os.umask(PRIVATE_UMASK)
    os.umask(current)
    return current
