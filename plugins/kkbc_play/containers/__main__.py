"""`make containers-trial`, or `python -m kkbc_play.containers [--steps build,up,night] [--keep] [--json]`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from kkbc.cli.console import complain, print_json, say
from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc_play.containers.trial import STEPS, Trial

FOLDER = PROJECT_ROOT / ".local" / "containers-trial"


def main(
    steps: Annotated[str, typer.Option(help="What to do, in this order; default: all.")] = ",".join(STEPS),
    scale: Annotated[Literal["small", "default"], typer.Option(help="Size of the nights.")] = "small",
    folder: Annotated[Path, typer.Option(help="World, secrets, logs, and images of an engine started here.")] = FOLDER,
    keep: Annotated[bool, typer.Option("--keep", help="Leave containers, volumes and engine as they are.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The checks as JSON on stdout.")] = False,
) -> None:
    """Builds the production images, starts the compose file, and plays nights in it while parts of it fail.

    Exit status 0: every check passed; 1: one did not; 2: it could not be tried.
    """
    chosen = steps.split(",")
    try:
        if unknown := set(chosen) - set(STEPS):
            raise UserError(f"there is no step {', '.join(sorted(unknown))}", f"name some of {', '.join(STEPS)}")
        trial = Trial(folder.absolute(), scale, say)
        try:
            trial.run(chosen)
        finally:
            trial.close(keep=keep)
    except UserError as error:
        complain(error)
        sys.exit(2)
    if json:
        bases = trial.bases
        print_json({"passed": trial.report.passed, "bases": bases, "checks": trial.report.as_json()})
    failed = [check.name for check in trial.report.checks if not check.passed]
    say(f"{len(trial.report.checks) - len(failed)} of {len(trial.report.checks)} checks passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
