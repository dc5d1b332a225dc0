"""`kkbc quarantine`: list, show, export, retry, resolve."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from kkbc.cli.console import number, out, print_json, say, who
from kkbc.core.errors import UserError

BranchOption = Annotated[str | None, typer.Option("--branch", metavar="KC044", help="Rows of this branch only.")]
FeedOption = Annotated[str | None, typer.Option("--feed", metavar="FEED", help="One feed only, e.g. iuran.")]
DateOption = Annotated[
    datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Rows of this business date only.")
]
SinceOption = Annotated[datetime | None, typer.Option("--since", formats=["%Y-%m-%d"], help="From this business date.")]
UntilOption = Annotated[datetime | None, typer.Option("--until", formats=["%Y-%m-%d"], help="To this business date.")]
CodeOption = Annotated[
    str | None, typer.Option("--code", metavar="CODE", help="Rows with this error code only, e.g. NIK_REGION.")
]
LineOption = Annotated[int | None, typer.Option("--line", min=1, help="Rows of this line of their file only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept with the rows.")]
PersonsWhyOption = Annotated[
    str, typer.Option("--why", metavar="TEXT", help="With --pii: the reason, kept in the record of who looked.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be; nothing is changed.")]
SHOWN = 40

quarantine = typer.Typer(
    help="Rows that were kept out of the marts: see them, judge them again, or leave them be.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(quarantine, name="quarantine", epilog="Example: kkbc quarantine list --branch KC044")


@quarantine.command("list", epilog="Example: kkbc quarantine list --since 2023-12-01 --code NIK_REGION")
def list_rows(
    branch: BranchOption = None,
    feed: FeedOption = None,
    day: DateOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    code: CodeOption = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those that were closed instead of the open ones.")] = False,
    json: JsonOption = False,
) -> None:
    """Counts quarantined rows by business date, branch, feed and code. A row with two codes is in two groups."""
    from kkbc.slices.quarantine import list_groups

    found = list_groups(_selection(branch, feed, day, since, until, code), closed=closed)
    if json:
        print_json({"rows": found.rows, "slices": found.slices, "groups": _plain(found.groups)})
        return
    state = "closed" if closed else "open"
    if not found.rows:
        out.print(f"No {state} row in quarantine is like that.")
        return
    table = Table("Date", "Branch", "Feed", "Code", "Rows", "Days", *(["Closed as"] if closed else []), box=None)
    for name in ("Rows", "Days"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for group in found.groups[:SHOWN]:
        cells = [f"{group['business_date']}", group["branch_id"], group["feed"], group["code"]]
        table.add_row(*cells, number(group["rows"]), number(group["age_days"]), group["closed_as"] or "")
    out.print(table)
    if len(found.groups) > SHOWN:
        out.print(f"... and {len(found.groups) - SHOWN} more lines: narrow them down, or take --json")
    out.print(f"{number(found.rows)} rows {state} in {number(found.slices)} slices")


@quarantine.command(
    "show", epilog="Example: kkbc quarantine show pendaftaran/KC044/2023-12-11:17 --pii --why 'the branch asks'"
)
def show_rows(
    address: Annotated[str, typer.Argument(metavar="FEED/BRANCH/DATE[/rN][:LINE]", help="Slice, or one line of it.")],
    pii: Annotated[bool, typer.Option("--pii", help="With the text as sent; needs database role pii.")] = False,
    why: PersonsWhyOption = "",
    json: JsonOption = False,
) -> None:
    """Shows the quarantined rows of a slice: line, codes, columns, and what became of each."""
    from kkbc.slices.quarantine import Address, show

    place = Address.parse(address)
    shown = show(place, persons=_persons(pii, why))
    if json:
        print_json(_plain({"slice": shown.slice, "rows": shown.rows}))
        return
    slice_ = shown.slice
    out.print(
        f"[bold]{slice_['feed']}/{slice_['branch_id']}/{slice_['business_date']}/r{slice_['revision']}[/bold]"
        f"  {slice_['status']}  file {escape(slice_['file_name'] or '-')}",
        soft_wrap=True,
    )
    if slice_["status"] == "rejected":
        out.print(f"rejected as a whole: {slice_['reason']}: {escape(slice_['detail'] or '')}", soft_wrap=True)
    out.print(
        f"{number(slice_['rows_sent'])} rows sent, {number(slice_['rows_accepted'])} accepted,"
        f" {number(slice_['rows_quarantined'])} quarantined"
    )
    rows = shown.rows if place.line is not None else shown.rows[:SHOWN]
    for row in rows:
        _print_row(row, with_history=place.line is not None)
    if len(shown.rows) > len(rows):
        out.print(f"... and {len(shown.rows) - len(rows)} more: give a line, or take --json")


@quarantine.command("export", epilog="Example: kkbc quarantine export --branch KC044 --feed iuran --out rows.csv")
def export_rows(
    path: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write, .csv or .parquet.")],
    branch: BranchOption = None,
    feed: FeedOption = None,
    day: DateOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    code: CodeOption = None,
    line: LineOption = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those that were closed instead of the open ones.")] = False,
    pii: Annotated[
        bool,
        typer.Option("--pii", help="With personal columns and the text as sent; needs database role pii."),
    ] = False,
    why: PersonsWhyOption = "",
    json: JsonOption = False,
) -> None:
    """Writes quarantined rows of one feed to a file, with their cells as sent, for whoever works on them."""
    from kkbc.slices.quarantine import extract

    selection = _selection(branch, feed, day, since, until, code, line)
    rows = extract(selection, path, persons=_persons(pii, why), closed=closed)
    if json:
        print_json({"file": str(path), "rows": rows})
        return
    out.print(f"{number(rows)} rows written to {escape(str(path))}", soft_wrap=True)
    if pii:
        say("Persons are in it: only you may read it; remove it when the work is done.")


@quarantine.command("retry", epilog="Example: kkbc quarantine retry --code CODE_UNKNOWN --why 'channel JMO added'")
def retry_rows(
    why: WhyOption,
    branch: BranchOption = None,
    feed: FeedOption = None,
    day: DateOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    code: CodeOption = None,
    line: LineOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Judges open rows again by today's rules, code lists and registry, and loads those that pass into their slices.

    Exit status 1 when a slice could not be retried; the others are done all the same.
    """
    from kkbc.slices import AuditNote
    from kkbc.slices.quarantine import retry
    from kkbc.warehouse import connect

    selection, note = _selection(branch, feed, day, since, until, code, line), AuditNote(why, who())
    with connect("loader", autocommit=True) as conn:
        report = retry(conn, selection, note, dry_run=dry_run)
    summary = report.summary()
    if json:
        print_json({**summary, "dry_run": dry_run})
    else:
        for done in summary["slices"]:
            out.print(f"{done['slice']}: {_outcome(done)}", soft_wrap=True)
        head = "Would be: " if dry_run else ""
        out.print(f"{head}{number(summary['judged'])} rows judged again, {_outcome(summary)}")
        if summary["slices"] and not dry_run:
            out.print("The next night builds them into the marts: `kkbc run`, or the DAG pull_branches.")
    for slice_, reason in report.failed.items():
        say(f"{slice_} could not be retried: {reason}")
    if report.failed:
        raise typer.Exit(1)


@quarantine.command("resolve", epilog="Example: kkbc quarantine resolve --branch KC044 --line 17 --why 'test entry'")
def resolve_rows(
    why: WhyOption,
    branch: BranchOption = None,
    feed: FeedOption = None,
    day: DateOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    code: CodeOption = None,
    line: LineOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Closes open rows that need no more work. They are not loaded, and are counted as quarantined for ever."""
    from kkbc.slices import AuditNote
    from kkbc.slices.quarantine import resolve
    from kkbc.warehouse import connect

    selection, note = _selection(branch, feed, day, since, until, code, line), AuditNote(why, who())
    if selection.is_everything:
        raise UserError("every open row would be resolved", "say which: --branch, --feed, --date, --code, --line")
    with connect("loader", autocommit=True) as conn:
        rows = resolve(conn, selection, note, dry_run=dry_run)
    if json:
        print_json({"resolved": rows, "dry_run": dry_run})
    else:
        out.print(f"{number(rows)} rows {'would be ' if dry_run else ''}resolved")


def _selection(
    branch: str | None,
    feed: str | None,
    day: datetime | None,
    since: datetime | None,
    until: datetime | None,
    code: str | None,
    line: int | None = None,
) -> Any:
    from kkbc.slices.quarantine import Selection

    if day is not None and (since is not None or until is not None):
        raise UserError("--date is one day, --since and --until are several", "give the one or the others")
    return Selection(branch, feed, _date(day or since), _date(day or until), code, line)


def _persons(pii: bool, why: str) -> Any:
    """Who looks at persons, and why; None for who does not."""
    from kkbc.slices import AuditNote

    if not pii:
        if why:
            raise UserError("--why is the reason to see persons", "leave it out, or add --pii")
        return None
    if not why.strip():
        raise UserError("--pii needs a reason", "add --why 'a few words': it is kept in the record of who looked")
    return AuditNote(why, who())


def _date(value: datetime | None) -> date | None:
    return value.date() if value is not None else None


def _outcome(counts: dict[str, Any]) -> str:
    outcome = [f"{number(counts['accepted'])} accepted"]
    if counts["changed"]:
        outcome.append(f"{number(counts['changed'])} still bad with other codes")
    if counts["displaced"]:
        outcome.append(f"{number(counts['displaced'])} accepted before lost their key to them")
    return ", ".join(outcome)


def _print_row(row: dict[str, Any], *, with_history: bool) -> None:
    state = "open" if row["closed_as"] is None else f"{row['closed_as']} {row['closed_at']:%Y-%m-%d}"
    columns = " ".join(row["fields"])
    out.print(f"{row['line']:>8}  {' '.join(row['errors'])}  [dim]{columns}[/dim]  {state}", soft_wrap=True)
    if "raw" in row:
        out.print(
            f"{'':>8}  {escape(row['raw'] if row['raw'] is not None else '(no such line any more)')}", soft_wrap=True
        )
    if not with_history:
        return
    out.print(f"{'':>8}  first seen {row['first_seen_at']:%Y-%m-%d %H:%M}Z")
    for event in row["history"]:
        codes = f"{' '.join(event['errors_before']) or 'accepted'} -> {' '.join(event['errors_after']) or 'accepted'}"
        line = f"{event['happened_at']:%Y-%m-%d %H:%M}Z {event['event']}: {codes} by {event['done_by']}: {event['why']}"
        out.print(f"{'':>8}  {escape(line)}", soft_wrap=True)


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
