"""`kkbc subject-report` and `kkbc restrict`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from kkbc.cli.console import number, out, print_json, say, who
from kkbc.core.errors import UserError

FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="NIKs, one a line, mode 0600; default: standard input."),
]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept in the record of who looked.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("subject-report", epilog="Example: kkbc subject-report --why 'request 12 of 4 March' --file nik.txt")(
        subject_report
    )
    app.add_typer(restriction, name="restrict")


def subject_report(
    why: WhyOption,
    file: FileOption = None,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder; default: subject-reports of the home.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Writes all that is held of a person, and who looked, as a page in Indonesian and as JSON, for its owner alone.

    Needs database role pii. The terminal shows no personal data.
    """
    from kkbc.rights.persons import read_persons
    from kkbc.rights.subject_report import write_report
    from kkbc.slices import AuditNote

    note = AuditNote(why, who())
    reports = [write_report(person, note, folder) for person in read_persons(file)]
    if json:
        print_json([{name: str(v) if isinstance(v, Path) else v for name, v in asdict(r).items()} for r in reports])
        return
    for report in reports:
        held = f"{number(report.rows)} rows of branches" if report.held else "nothing is held of this person"
        erased = "; the person was erased, and is kept out" if report.erased else ""
        out.print(f"{escape(str(report.html))} and .json: {held}{erased}", soft_wrap=True)
    say("Persons are in them: hand them over by a safe way, and remove them when the request is answered.")


restriction = typer.Typer(
    help="Holds persons out of all marts from the next build on, or releases them; their rows stay stored.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@restriction.callback(epilog="Example: kkbc restrict --why 'request 12, accuracy disputed' < nik.txt")
def restrict(
    context: typer.Context,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept on record.")] = "",
    file: FileOption = None,
    release: Annotated[bool, typer.Option("--release", help="Count the persons again.")] = False,
    json: JsonOption = False,
) -> None:
    """Holds persons out of all marts from the next build on, or releases them; their rows stay stored.

    NIKs come by standard input or --file. Doing it twice changes nothing.
    """
    if context.invoked_subcommand is not None:
        return
    from kkbc.rights import read_wanted, restriction
    from kkbc.rights.persons import persons
    from kkbc.slices import AuditNote

    if not why.strip():
        raise UserError("no reason is given", "add --why 'a few words': it is kept on record")
    wanted, note = read_wanted(file, values=False), AuditNote(why, who())
    of = persons(list(wanted.niks))
    changed = restriction.release(of, note) if release else restriction.restrict(of, note)
    unknown = restriction.unknown(wanted)
    if json:
        told = {"persons": len(of), "changed": changed, "restricted": not release, "unknown_lines": unknown}
        print_json(told)
        return
    what = "released" if release else "restricted"
    others = "" if changed == len(of) else "; the others were so already"
    out.print(f"{number(changed)} of {number(len(of))} persons {what}{others}")
    if unknown:
        lines = ", ".join(map(str, unknown))
        say(f"no row is loaded of the persons of lines {lines}: if a NIK is mistyped, do it again with the right one")
    if changed:
        say("The next build takes it into the marts: `kkbc run`, or the DAG pull_branches.")


@restriction.command("list", epilog="Example: kkbc restrict list --json")
def list_restrictions(json: JsonOption = False) -> None:
    """Lists who is or was restricted, by token: since when, by whom and why, and the same of the release."""
    from kkbc.rights.restriction import restrictions

    found = restrictions()
    if json:
        print_json(found)
        return
    if not found:
        out.print("Nobody is or was restricted.")
        return
    table = Table(Column("Token", overflow="fold"), "Since", "By", "Why", "Released", "By", "Why", box=None)
    for row in found:
        row |= {name: _minute(row[name]) for name in ("restricted_at", "released_at")}
        table.add_row(*(escape(str(value or "-")) for value in row.values()))
    out.print(table)


def _minute(moment: str | None) -> str | None:
    """A moment in UTC as tables show it."""
    return f"{moment[:16].replace('T', ' ')}Z" if moment else None
