"""The command line `kkbc`. Thin: each command calls the verb of one module and shows what it returns.

Exit status: 0 done; 1 something unforeseen, or a check that failed; 2 a mistake that the message says how to fix;
3 the gate stopped publication.
"""

import sys
from typing import Any

import typer

from kkbc.cli import (
    access,
    backup,
    branch,
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
    report,
    rights,
    warehouse,
)
from kkbc.cli.console import complain
from kkbc.core.errors import BranchTimeout, BranchUnavailable, GateFailed, UserError
from kkbc.core.extensions import extensions
from kkbc.core.files import close_to_others

app = typer.Typer(
    name="kkbc",
    help="Nightly loads of the campaign Kerja Keras Bebas Cemas: from the branches to the marts of BI.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    add_completion=False,
)
for module in (
    *(night, publication, report, branch, quarantine, gate, operations, access, rights, erase),
    *(keys, landing, warehouse, backup, documents, new, doctor),
):
    module.register(app)
for register in extensions("kkbc.commands").values():
    register(app)


def main() -> None:
    """Entry point: runs the command, turns errors into one line and an exit status."""
    close_to_others()
    try:
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
    except OSError as error:
        if error.filename is None:
            raise
        complain(UserError(f"{error.filename}: {error.strerror}", "check the path, its owner and the disk"))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        mistake = _of_the_warehouse(error)
        if mistake is None:
            raise
        complain(mistake)
        sys.exit(2)


def _of_the_warehouse(error: Any) -> UserError | None:
    """What a person is told of an error of PostgreSQL; None for any other, and for one that is the program's fault."""
    if type(error).__module__.partition(".")[0] != "psycopg":
        return None
    from kkbc.warehouse.connection import explained

    return explained(error)
