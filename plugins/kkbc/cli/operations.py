"""`kkbc notify`, `kkbc maintain` and `kkbc backfill`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from kkbc.cli.console import number, out, print_json, say, who
from kkbc.cli.night import Gate, night_progress
from kkbc.core.errors import UserError


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("notify", epilog="Example: kkbc notify --dry-run")(notify)
    app.command("maintain", epilog="Example: kkbc maintain --dry-run --only landing --only logs")(maintain)
    app.command(
        "backfill", epilog="Example: kkbc backfill --from 2023-12-11 --to 2023-12-13 --why 'code list corrected'"
    )(backfill)


def notify(
    run_id: Annotated[str | None, typer.Option(help="Run to report; default: the latest.")] = None,
    deadline: Annotated[
        bool, typer.Option("--deadline", help="Only look whether the night that is due by 05:00 WIB is published.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the message; nothing is sent or noted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The messages as JSON on stdout.")] = False,
) -> None:
    """Tells the operators what came of the last night, once, and sends what could not be sent before.

    Exit status 1 when a channel failed; it is tried again with the next message.
    """
    from kkbc.watching import notifying

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
            out.print("There is nothing to report that was not sent already.")
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
            help="partitions, rows, publications, persons, landing, compaction, exports, logs, airflow, analyze or"
            " documents; repeatable. Default: all of them.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Annotated[bool, typer.Option("--json", help="What each part did as JSON on stdout.")] = False,
) -> None:
    """Keeps warehouse and home quick and small, by config/maintenance.yml. The DAG `maintenance` does so every day."""
    from kkbc.upkeep import maintenance

    done = maintenance.maintain(only or (), dry_run=dry_run)
    if json:
        print_json([part.as_json() for part in done])
        return
    for part in done:
        did = ", ".join(f"{name} {number(count)}" for name, count in part.did.items())
        out.print(f"{part.part:<13} {part.seconds:6.1f} s  {did}", soft_wrap=True)
    if dry_run:
        say("Nothing was changed.")


def backfill(
    since: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First business date.")],
    until: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last business date.")],
    branch: Annotated[str | None, typer.Option(metavar="KC044", help="Slices of this branch only.")] = None,
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason, kept with rows whose verdict changes.")] = "",
    from_branches: Annotated[
        bool, typer.Option("--from-branches", help="Ask the branches for what is outstanding instead of landing.")
    ] = False,
    source_root: Annotated[
        Path | None, typer.Option(help="With --from-branches: folder with the deliveries of all branches as files.")
    ] = None,
    gate: Gate = None,
    json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on stdout.")] = False,
) -> None:
    """Reads past business dates again from landing, by the contracts of today, then builds and publishes.

    Exit status 1 when a slice could not be read again; the others are done all the same.
    """
    from kkbc.nights import RunRequest, backfill
    from kkbc.slices import AuditNote

    if from_branches and (branch or why):
        raise UserError("--branch and --why go with landing", "leave them out, or leave out --from-branches")
    if source_root is not None and not from_branches:
        raise UserError("--source-root goes with --from-branches", "leave it out: landing is read")
    with night_progress() as progress:
        if from_branches:
            request = RunRequest(source_root=source_root.resolve() if source_root else None, gate=gate)
            outcome = backfill.backfill_from_branches(until.date(), request, progress=progress, print_line=say)
        else:
            outcome = backfill.backfill(
                since.date(),
                until.date(),
                AuditNote(why or "backfill", who()),
                branch_id=branch,
                gate=gate,
                progress=progress,
                print_line=say,
            )
    failed = outcome["failed"]
    if json:
        print_json(outcome)
    elif not from_branches:
        counts = ", ".join(f"{number(outcome[name])} {name}" for name in ("rows", "accepted", "passed", "found"))
        out.print(f"{number(outcome['slices'])} slices read again: {counts}")
    for place, reason in failed.items():
        say(f"{place} failed: {reason}")
    if failed:
        raise typer.Exit(1)
