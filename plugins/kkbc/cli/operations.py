"""`kkbc notify`, `kkbc maintain` and `kkbc backfill`."""

from typing import Annotated

import typer

from kkbc.cli.console import out, print_json, say


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("notify", epilog="Example: kkbc notify --dry-run")(notify)


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
