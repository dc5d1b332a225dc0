"""`kkbc access`: list, verify, acknowledge."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from kkbc.cli.console import number, out, print_json, who
from kkbc.core.errors import UserError

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]

access = typer.Typer(
    help="The record of who looked at persons, and whether it is as it was written.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(access, name="access", epilog="Example: kkbc access list --since 2023-12-01")


@access.command("list", epilog="Example: kkbc access list --subject-from - < nik.txt")
def list_entries(
    subject_from: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only what concerns the persons whose NIKs FILE holds; - is standard input."),
    ] = None,
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="From this day on, UTC.")] = None,
    json: JsonOption = False,
) -> None:
    """Lists who used personal data, when, why, and of how many persons; of whom, the record does not show."""
    from datetime import UTC

    from kkbc.rights.persons import read_persons
    from kkbc.warehouse.access_record import entries

    moment = since.replace(tzinfo=UTC) if since else None
    found = entries(since=moment)
    if subject_from is not None:
        of = [entries(since=moment, person=(p.subject, p.token)) for p in read_persons(subject_from)]
        concerned = {entry.access_id for some in of for entry in some}
        found = [entry for entry in found if entry.access_id in concerned]
    if json:
        print_json([asdict(entry) | {"noted_at": entry.noted_at.isoformat()} for entry in found])
        return
    if not found:
        out.print("Nothing of that kind is on record.")
        return
    what, by = (Column(name, overflow="fold") for name in ("What", "Who"))
    table = Table("No.", "When (UTC)", what, by, "Why", "Persons", "Rows", box=None)
    for entry in found:
        table.add_row(
            number(entry.access_id),
            f"{entry.noted_at:%Y-%m-%d %H:%M}",
            *(escape(text) for text in (entry.action, entry.done_by, entry.why)),
            number(entry.persons or None),
            number(entry.rows),
        )
    out.print(table)


@access.command("verify", epilog="Example: kkbc access verify --head 3f9a1c0b7d2e4a55")
def verify(
    heads: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="HASH", help="A hash kept elsewhere, or its beginning: one entry must have it."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Checks the chain of hashes, and that the hashes kept elsewhere, as from the nightly messages, are in it.

    Exit status 1 when the record was changed, cut or rolled back anywhere.
    """
    from kkbc.warehouse import connect
    from kkbc.warehouse.access_record import faults, head, holds

    with connect("auditor") as conn:
        now = head(conn)
    found = faults()
    missing = [known for known in heads or () if len(known) < 8 or not holds(known)]
    if json:
        print_json({"entries": now.entries, "head": now.hash, "faults": list(map(asdict, found)), "missing": missing})
    else:
        out.print(f"{number(now.entries)} entries, the last {now.hash or '-'}", soft_wrap=True)
        for fault in found:
            out.print(f"{number(fault.access_id):>8}  {fault.fault}", soft_wrap=True)
        for known in missing:
            out.print(f"no entry has the hash {escape(known)}: the record was rewritten since", soft_wrap=True)
        if not found and not missing:
            out.print("It is as it was written.")
    if found or missing:
        raise typer.Exit(1)


@access.command(
    "acknowledge", epilog="Example: kkbc access acknowledge 17 --why 'psql of sari broke off, she was asked'"
)
def acknowledge(
    entry: Annotated[
        int, typer.Argument(metavar="NUMBER", help="A number of the gap, as `kkbc access verify` has it.")
    ],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="What it was, kept on record.")],
    json: JsonOption = False,
) -> None:
    """Notes that a gap in the numbers is known, as a reading that was rolled back leaves one: it is no fault any more.

    That is an entry of the record itself. Only a gap can be acknowledged, and by the owner of the database alone.
    """
    from kkbc.warehouse.access_record import acknowledge as acknowledge_gap

    if not why.strip():
        raise UserError("no reason is given", "add --why 'a few words': it is kept on record")
    gap = acknowledge_gap(entry, done_by=who(), why=why.strip())
    if json:
        print_json(asdict(gap))
        return
    out.print(f"The gap {number(gap.first)} to {number(gap.last)} is acknowledged, and that is on record.")
