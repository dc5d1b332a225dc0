"""`kkbc erase`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress

from kkbc.cli.console import err, number, out, print_json, say, who
from kkbc.core.errors import UserError

_STEPS = {
    "found": "what is known of the persons",
    "landing": "landing",
    "database": "tables written anew",
    "verified": "searching all that is stored",
}


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("erase", epilog="Example: kkbc erase --file niks.txt --why 'request of 3 March' --dry-run")(erase)


def erase(
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason, kept with the erasure; --resume has it.")] = "",
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A NIK a line, mode 0600; behind it, after ; or a tab, names, phone numbers and e-mails that are the"
            " person's alone. Default: standard input.",
        ),
    ] = None,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Name of the request; default: one that follows from the persons.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what there is of the persons.")] = False,
    for_approval: Annotated[
        bool, typer.Option("--for-approval", help="Put the request aside for DAG erase_persons; nothing is erased.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Go on with a request that was broken off or waits."),
    ] = None,
    refuse: Annotated[str | None, typer.Option(metavar="ID", help="End a request that waits.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only search all that is stored for the persons, and tell what was read.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on stdout.")] = False,
) -> None:
    """Erases persons from landing, vault, quarantine and all that is kept; published figures stay as they are.

    NIKs come from standard input or a file, never as an argument. Asked for again, an erasure that was broken off goes
    on where it stopped. Exit status: 0 done, or nothing found; 1 something was found; 2 a mistake in what was given.
    """
    from kkbc import rights

    if sum(map(bool, (dry_run, for_approval, resume, refuse, verify))) > 1:
        raise UserError(
            "only one of --dry-run, --for-approval, --resume, --refuse and --verify goes", "leave the others out"
        )
    if not why.strip() and not resume:
        raise UserError("no reason is given", "say why in a few words with --why: it is kept on record")
    if refuse is not None:
        rights.refuse(refuse, why=why, who=who())
        say(f"request {refuse} is refused, and its file removed")
        return
    wanted = rights.resume(resume) if resume else rights.read_wanted(file)
    if for_approval:
        made = rights.approve_later(wanted, why=why, who=who(), request=request)
        say(f"{made.persons} persons wait for approval: trigger DAG erase_persons with request {made.request}")
        if json:
            print_json({"request": made.request, "persons": made.persons, "outcome": made.outcome})
        return
    with _bars() as progress:
        if verify:
            found = rights.verify(wanted, why=why, who=who(), progress=lambda d, t: progress("verified", d, t))
        elif dry_run:
            _print_foreseen(rights.foresee(wanted, progress), json=json)
            return
        else:
            done = rights.erase(
                wanted,
                why=why,
                who=who(),
                request=resume or request,
                progress=progress,
                wait=lambda: say("another erasure is under way: waiting for it"),
            )
    if verify:
        _print_verified(found.as_json(), json=json)
        return
    _print_erased(done, json=json)


@contextmanager
def _bars() -> Iterator[Any]:
    """A bar for each step that takes long, where a person looks on."""
    with Progress(console=err, transient=True, disable=not err.is_terminal) as shown:
        bars: dict[str, Any] = {}

        def moved(step: str, done: int, total: int) -> None:
            if step not in bars:
                bars[step] = shown.add_task(_STEPS.get(step, step), total=None)
            shown.update(bars[step], completed=done, total=total)

        yield moved


def _print_foreseen(found: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(found)
        return
    out.print(f"{number(found['persons'])} persons")
    out.print(f"  {'landed files':<40} {number(found['landed_files']):>12}")
    for place, rows in found["rows"].items():
        out.print(f"  {escape(place):<40} {number(rows):>12}")
    _say_unknown(found["unknown_lines"])
    say("Nothing was changed.")


def _print_erased(done: Any, *, json: bool) -> None:
    if json:
        print_json(
            {name: getattr(done, name) for name in ("request", "erasure_id", "persons", "already", "unknown")}
            | {"proof": done.proof, "findings": list(done.findings)}
        )
    elif done.already:
        out.print(f"Request {done.request} is done: its proof is in erasures/{done.request}.json of the home.")
    elif not done.findings:
        steps = done.proof["steps"]
        out.print(f"Request {done.request}: {number(done.persons)} persons erased.", soft_wrap=True)
        landing, searched = steps["landing"], steps["verified"]
        out.print(f"  {number(landing['rewritten'])} of {number(landing['files'])} landed files rewritten")
        for place, rows in steps["warehouse"]["rows"].items():
            out.print(f"  {escape(place):<40} {number(rows):>12}")
        _print_read(searched)
        say(f"the proof is in erasures/{done.request}.json of the home")
    if not done.already:
        earlier = set(done.earlier)
        if earlier:
            say(f"the persons of lines {', '.join(map(str, sorted(earlier)))} were erased before")
        _say_unknown([line for line in done.unknown if line not in earlier])
    if done.findings:
        _print_places(done.findings)
        raise typer.Exit(1)


def _print_verified(found: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(found)
    else:
        _print_read(found)
        _print_places(found["places"])
        if not found["places"]:
            out.print("Nothing was found.")
    if found["places"]:
        raise typer.Exit(1)


def _print_read(found: dict[str, Any]) -> None:
    out.print(
        f"Read: {number(found['files'])} files ({number(found['file_bytes'])} bytes), {number(found['tables'])} tables"
        f" ({number(found['table_bytes'])} bytes), {number(found['server_files'])} files of the server"
        f" ({number(found['server_bytes'])} bytes).",
        soft_wrap=True,
    )
    for left in found["not_read"]:
        say(f"not read: {left}")


def _print_places(places: Any) -> None:
    for place in places:
        out.print(f"{escape(place['place'])}  value {place['value']}, {number(place['count'])} times", soft_wrap=True)
    if places:
        say(f"{len(places)} places hold something of the persons: see docs/runbooks/erase-a-person.md")


def _say_unknown(lines: Any) -> None:
    if lines:
        shown = ", ".join(map(str, lines))
        say(f"no row is loaded of the persons of lines {shown}: they go on the suppression list all the same")
