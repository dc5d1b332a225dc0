"""`kkbc gate`: list, show, release."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from kkbc.cli.console import number, out, print_json, say, who
from kkbc.core.errors import UserError

SlicesArgument = Annotated[
    list[str], typer.Argument(metavar="SLICE...", help="Like pendaftaran/KC044/2023-12-11/r1; or a branch: all of it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]

gate = typer.Typer(
    help="Slices that the gate keeps out of the figures: see them, or let them in.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(gate, name="gate", epilog="Example: kkbc gate list")


@gate.command("list", epilog="Example: kkbc gate list --json | jq '.[].slice'")
def list_held(
    closed: Annotated[
        bool, typer.Option("--closed", help="Those that were released or superseded instead of those held now.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Lists the slices that are held, the latest first, with the first reason of each."""
    from kkbc.slices import holds

    found = holds(closed=closed)
    if json:
        print_json([_plain(held) for held in found])
        return
    if not found:
        out.print("Nothing was ever let go." if closed else "Nothing is held.")
        return
    table = Table("Slice", "Held since", "Became" if closed else "In force meanwhile", "Why", box=None)
    for held in found:
        meanwhile = held.closed_as if closed else held.restored_revision and f"r{held.restored_revision}"
        why = held.release_why or held.reasons[0]
        table.add_row(str(held.slice), f"{held.held_at:%Y-%m-%d %H:%M}", str(meanwhile or "nothing"), escape(why))
    out.print(table)


@gate.command("show", epilog="Example: kkbc gate show pendaftaran/KC044/2023-12-11/r1")
def show_held(
    slices: SlicesArgument,
    json: JsonOption = False,
) -> None:
    """Shows why slices are or were held, and what became of them."""
    from kkbc.slices import holds

    every = [*holds(), *holds(closed=True)]
    chosen = [held for name in slices for held in _named(every, name)]
    if json:
        print_json([_plain(held) for held in chosen])
        return
    for held in chosen:
        out.print(f"[bold]{held.slice}[/bold]  {held.closed_as or 'held'}, by build {number(held.build_id)}")
        for reason in held.reasons:
            out.print(f"  {escape(reason)}", soft_wrap=True)
        if held.restored_revision is not None:
            out.print(f"  revision {held.restored_revision} was put back in force")
        if held.released_at is not None:
            by = f"{held.released_at:%Y-%m-%d %H:%M} by {held.released_by}: {held.release_why}"
            out.print(f"  released {escape(by)}")


@gate.command(
    "release", epilog='Example: kkbc gate release KC044 --why "a week of market days in one file, as announced"'
)
def release_held(
    slices: SlicesArgument,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept with the slice.")],
    json: JsonOption = False,
) -> None:
    """Lets held slices in: they are loaded now, and published by the next build. They are never held again."""
    from kkbc.slices import AuditNote, holds, release
    from kkbc.warehouse import connect

    note = AuditNote(why, who())
    found = holds()
    chosen = list(dict.fromkeys(held.slice for name in slices for held in _named(found, name)))
    with connect("loader", autocommit=True) as conn:
        rows = {str(slice_): release(conn, slice_, note) for slice_ in chosen}
    if json:
        print_json({"released": [{"slice": slice_, "rows": count} for slice_, count in rows.items()]})
        return
    for slice_, count in rows.items():
        out.print(f"{slice_} released: {number(count)} rows loaded")
    say("the next build publishes them: `kkbc run`, or the next run of pull_branches")


def _named(found: list[Any], name: str) -> list[Any]:
    """The slices that are called `name`, or are of the branch of that name. Raises UserError when there are none."""
    chosen = [held for held in found if name in (str(held.slice), held.branch_id)]
    if not chosen:
        raise UserError(f"{name or 'no slice'} is not held", "`kkbc gate list` shows what is")
    return chosen


def _plain(held: Any) -> dict[str, Any]:
    values = {"slice": str(held.slice), **asdict(held)}
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()}
