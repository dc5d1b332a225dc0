"""`kkbc doctor`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kkbc.cli.console import bar, number, out, print_json, say
from kkbc.core.errors import UserError


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("doctor", epilog="Example: kkbc doctor --json | jq '.[] | select(.state != \"ok\")'")(doctor)


def doctor(
    privacy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Search home and databases for the values in FILE, one a line, UTF-8; - is standard input. Found in"
            " the forms of docs/security.md; gzip, zip and Parquet are unfolded, one level deep; what is packed"
            " otherwise or twice is not, nor UTF-32 of letters other than Latin. Landing and vault, where persons"
            " belong, are left out.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The findings as JSON on stdout.")] = False,
) -> None:
    """Examines this installation; each finding that is not ok says what fixes it.

    Exit status: 0 all is well, or nothing found; 1 a finding fails, or a value was found; 2 it could not look: a
    mistake in FILE or the settings, a file or database that cannot be read.
    """
    from kkbc.upkeep.doctor import examine

    if privacy is not None:
        _search_persons(privacy, json=json)
        return
    findings = examine()
    if json:
        print_json([finding.as_json() for finding in findings])
    else:
        colour = {"ok": "green", "warn": "yellow", "fail": "red"}
        for finding in findings:
            state = f"[{colour[finding.state]}]{finding.state:<4}[/]"
            out.print(f"{state} {finding.name:<13} {escape(finding.found)}", soft_wrap=True)
            if finding.remedy:
                out.print(f"     {'':<13} → {escape(finding.remedy)}", soft_wrap=True)
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)


def _search_persons(source: str, *, json: bool) -> None:
    """Tells where the values of a file stand, never the values. Exit status 1 when one was found."""
    from kkbc.rights.searching import search

    values = _values_of(source)
    with bar("searching") as progress:
        places = search(values, progress)
    if json:
        print_json([place.as_json() for place in places])
    else:
        for place in places:
            out.print(f"{escape(place.place)}  value {place.value}, {number(place.count)} times", soft_wrap=True)
        where = "outside landing, vault and the spool of visits under way"
        say(f"{len(places)} places hold one of {len(values)} values, {where}" if places else f"nothing found {where}")
    if places:
        raise typer.Exit(1)


def _values_of(source: str) -> list[str]:
    """The values of a file, one a line."""
    from kkbc.rights.lines import read_lines

    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        remedy = "give a file with a value a line, or -"
        raise UserError(f"{source} cannot be read: {error.strerror}", remedy) from error
    return [text for _, text in read_lines(content, source)]
