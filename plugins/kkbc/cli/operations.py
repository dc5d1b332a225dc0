"""`kkbc notify`, `kkbc maintain` and `kkbc backfill`."""

from typing import Annotated

import typer

from kkbc.cli.console import number, out, print_json, say


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("notify", epilog="Example: kkbc notify --dry-run")(notify)
    app.command("maintain", epilog="Example: kkbc maintain --dry-run --only landing --only logs")(maintain)


def notify(
    run_id: Annotated[str | None, typer.Option(help="Run to tell of; default: the latest.")] = None,
    deadline: Annotated[
        bool, typer.Option("--deadline", help="Only look whether the night that is due by 05:00 WIB is published.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the message; nothing is sent or noted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The messages as JSON on stdout.")] = False,
) -> None:
    """Tells the operators what came of the last night, once, and sends what could not be sent before.

    Exit status 1 when a channel failed; it is tried again with the next message.
    """
    from kkbc import notifying
    from kkbc.errors import UserError

    if deadline and (dry_run or run_id):
        raise UserError("--deadline looks at the clock", "leave --run-id and --dry-run out")
    if deadline:
        found = notifying.check_deadline()
        notices = found["notices"]
        say(f"{found['business_date']} is {'published' if found['published'] else 'NOT published'}")
    else:
        notices = [notice.as_json() for notice in notifying.notify(run_id, dry_run=dry_run)]
    if json:
        print_json(notices)
    else:
        for notice in notices:
            out.print(f"{notice['channel']}: {notice['outcome']}", soft_wrap=True, markup=False)
            out.print(f"{notice['subject']}\n{notice['body']}\n", soft_wrap=True, markup=False)
        if not notices:
            out.print("There is nothing to tell that was not told.")
    for notice in notices:
        if notice["error"]:
            say(f"{notice['channel']} failed: {notice['error']}")
    if any(notice["outcome"] == "failed" for notice in notices):
        raise typer.Exit(1)


def maintain(
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="partitions, rows, publications, landing, compaction, logs, analyze or documents; repeatable."
            " Default: all of them.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Annotated[bool, typer.Option("--json", help="What each part did as JSON on stdout.")] = False,
) -> None:
    """Keeps warehouse and home quick and small, by config/maintenance.yml. The DAG `maintenance` does so every day."""
    from kkbc import maintaining

    done = maintaining.maintain(only or (), dry_run=dry_run)
    if json:
        print_json([part.as_json() for part in done])
        return
    for part in done:
        did = ", ".join(f"{name} {number(count)}" for name, count in part.did.items())
        out.print(f"{part.part:<13} {part.seconds:6.1f} s  {did}", soft_wrap=True)
    if dry_run:
        say("Nothing was changed.")
