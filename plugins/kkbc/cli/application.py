"""The command line `kkbc`. Thin: each command calls the verb of one module and shows what it returns.

Exit status: 0 done; 1 something unforeseen, or a check that failed; 2 a mistake that the message says how to fix;
3 the gate stopped publication.
"""

import re
import sys
from collections.abc import Sequence
from typing import Any

import typer

from kkbc.cli import (
    access,
    backup,
    branch,
    dashboards,
    doctor,
    documents,
    erase,
    gate,
    keys,
    landing,
    new,
    night,
    operations,
    publication,
    quarantine,
    reader,
    report,
    rights,
    warehouse,
)
from kkbc.cli.console import complain
from kkbc.core.disk import FULL, cause_of
from kkbc.core.errors import BranchTimeout, BranchUnavailable, GateFailed, UserError
from kkbc.core.extensions import extensions
from kkbc.core.files import close_to_others
from kkbc.exchange.nik import DIGITS

_NIK = re.compile(rf"(?<![0-9A-Fa-f]){DIGITS}(?![0-9A-Fa-f])")

app = typer.Typer(
    name="kkbc",
    help="Nightly loads of the campaign Kerja Keras Bebas Cemas: from the branches to the marts of BI.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    add_completion=False,
)
for module in (
    *(night, publication, report, reader, branch, quarantine, gate, operations, access, rights, erase),
    *(keys, landing, warehouse, backup, documents, dashboards, new, doctor),
):
    module.register(app)
for register in extensions("kkbc.commands").values():
    register(app)


def main() -> None:
    """Entry point: runs the command, turns errors into one line and an exit status."""
    close_to_others()
    try:
        _check_arguments(sys.argv[1:])
        app(standalone_mode=True)
    except GateFailed as error:
        complain(error)
        sys.exit(3)
    except UserError as error:
        complain(error)
        sys.exit(2)
    except (BranchUnavailable, BranchTimeout) as error:
        complain(UserError(str(error), "it may come back: try again later"))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        mistake = _of_files(error) or _of_the_warehouse(error)
        if mistake is None:
            raise
        complain(mistake)
        sys.exit(2)


def _check_arguments(arguments: Sequence[str]) -> None:
    """Raises UserError where an argument has a NIK in it, which the parser's own message would repeat."""
    for number, argument in enumerate(arguments):
        # A hash of the record of accesses may by chance have no letters.
        if _NIK.search(argument) and arguments[number - 1 : number] != ["--head"]:
            raise UserError(
                f"argument {number + 1} has a NIK in it, which other users of the machine see and the shell keeps",
                "give NIKs on standard input or in a file, never as an argument; take it out of the shell's history",
            )


def _of_files(error: Any) -> UserError | None:
    """What a person is told of a file that cannot be read or written; None for any other error."""
    if isinstance(error, OSError) and error.filename is not None:
        return UserError(f"{error.filename}: {error.strerror}", "check the path, its owner and the disk")
    of_files = isinstance(error, OSError) or type(error).__module__.startswith("polars")
    if not of_files or cause_of(error)[1] not in FULL:
        return None
    return UserError(
        "a disk is full: No space left on device", "free disk space where home and landing lie, then do it again"
    )


def _of_the_warehouse(error: Any) -> UserError | None:
    """What a person is told of an error of PostgreSQL; None for any other, and for one that is the program's fault."""
    if type(error).__module__.partition(".")[0] != "psycopg":
        return None
    from kkbc.warehouse.connection import explained

    return explained(error)
