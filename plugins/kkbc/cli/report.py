"""`kkbc report`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from kkbc.cli.console import out, place


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command("report", epilog="Example: kkbc report --branch KC044 --out kc044.html")(report)


def report(
    night: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Business date of an earlier night; default: what is published now."),
    ] = None,
    branch: Annotated[str | None, typer.Option(help="The report of this branch, e.g. KC044.")] = None,
    regional: Annotated[str | None, typer.Option(help="The report of this regional office, e.g. KW06.")] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="File to write; default: among the night's reports, in `reports` of the home."),
    ] = None,
) -> None:
    """Writes the night's report, of the nation unless a branch or an office is named: one HTML page, in Indonesian."""
    from kkbc.reporting import write_report

    day = night.date() if night else None
    page = write_report(day, branch_id=branch, kanwil_id=regional, out=out_file)
    out.print(place(page), markup=False, soft_wrap=True)
