"""`kkbc publish`, `kkbc rollback` and `kkbc publication`."""

from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from kkbc.cli.console import number, out, print_json, say, who
from kkbc.core.errors import UserError

NumberArgument = Annotated[int | None, typer.Argument(metavar="N", help="Number of a publication; default: live.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
SHOWN = 40
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

publication = typer.Typer(
    help="What was published: the list, one publication, the totals it changed.",
    no_args_is_help=True,
    context_settings=SETTINGS,
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("publish", epilog="Example: kkbc publish --dry-run --json | jq .totals")(publish)
    app.command("rollback", epilog="Example: kkbc rollback --to 41 --why 'targets of December loaded twice'")(rollback)
    app.add_typer(publication, name="publication", epilog="Example: kkbc publication diff 42 --branch KC044")


def publish(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be; nothing is changed.")] = False,
    json: JsonOption = False,
) -> None:
    """Says what publishing what is built would change: statements, rows by table, totals by branch and month."""
    from kkbc.publishing import foresee
    from kkbc.warehouse import connect

    if not dry_run:
        raise UserError("nights publish by themselves, after the gate", "add --dry-run to see what would be published")
    with connect("publisher") as conn:
        foreseen = foresee(conn)
    if json:
        print_json(_plain(asdict(foreseen)))
        return
    build = foreseen.build
    out.print(f"[bold]Build {build['build_id']}[/bold] up to {build['as_of']}, {build['outcome']}")
    for statement in foreseen.statements:
        out.print(f"{escape(statement)};", soft_wrap=True)
    changed = {name: counts for name, counts in foreseen.tables.items() if counts["deleted"] or counts["inserted"]}
    table = Table("Table", "Deleted", "Inserted", "", box=None)
    for name, counts in changed.items():
        shape = "rebuilt" if name in foreseen.shapes else ""
        table.add_row(name, number(counts["deleted"]), number(counts["inserted"]), shape)
    if changed:
        out.print(table)
    _print_totals(foreseen.totals)
    out.print("Nothing was changed." if changed or foreseen.shapes else "Nothing is to be published.")


def rollback(
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept with the publication.")],
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", min=1, help="Publication to go back to; default: the one before.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Restores an earlier publication whole, in one transaction. The next night publishes its own state again."""
    from kkbc.nights.report import write_quietly
    from kkbc.publishing import roll_back
    from kkbc.publishing.inspect import differences
    from kkbc.warehouse import connect

    with connect("publisher") as conn:
        done = roll_back(
            conn, to=to, why=why, who=who(), wait=lambda: say("a build or publication is under way: waiting for it")
        )
    write_quietly()
    listed, totals = differences(done.publication_id)
    if json:
        print_json(_plain({**asdict(done), "as_of": listed.as_of, "totals": totals}))
        return
    rows = sum(counts["deleted"] + counts["inserted"] for counts in done.tables.values())
    out.print(
        f"Publication {done.publication_id} restores publication {done.restores}, up to {listed.as_of}:"
        f" {number(rows)} rows changed, {number(len(totals))} totals differ (`kkbc publication diff`)."
    )
    out.print("The next night publishes its own state again: fix the cause before it.")


@publication.command("list", epilog="Example: kkbc publication list --json | jq '.[] | select(.restorable)'")
def list_publications(
    last: Annotated[int, typer.Option("--last", min=1, help="So many of the latest.")] = 20, json: JsonOption = False
) -> None:
    """Lists publications, the latest first; the first one is live."""
    from kkbc.publishing.inspect import publications

    found = publications(last=last)
    if json:
        print_json([_plain(asdict(listed)) for listed in found])
        return
    if not found:
        out.print("Nothing is published yet.")
        return
    table = Table("No.", "As of", "Published", "Build", "Deleted", "Inserted", "", box=None)
    for listed in found:
        origin = f"restores {listed.restores}: {listed.why} ({listed.done_by})" if listed.restores else ""
        state = "live" if listed.live else "can be restored" if listed.restorable else ""
        cells = [f"{listed.publication_id}", f"{listed.as_of}", f"{listed.published_at:%Y-%m-%d %H:%M}Z"]
        cells += [f"{listed.build_id}", number(listed.deleted), number(listed.inserted)]
        table.add_row(*cells, escape(" ".join(filter(None, (state, origin)))))
    out.print(table)


@publication.command("show", epilog="Example: kkbc publication show 42")
def show_publication(which: NumberArgument = None, json: JsonOption = False) -> None:
    """Shows a publication: its tables, and the results that audited it."""
    from kkbc.publishing.inspect import publication as look

    found = look(which)
    listed = found["publication"]
    if json:
        print_json(_plain({**asdict(listed), "tables": found["tables"], "audit": found["audit"]}))
        return
    out.print(
        f"[bold]Publication {listed.publication_id}[/bold] up to {listed.as_of}, {listed.published_at:%Y-%m-%d %H:%M}Z,"
        f" build {listed.build_id}{', live' if listed.live else ''}"
    )
    if listed.restores:
        out.print(f"restores publication {listed.restores}: {escape(listed.why)} ({escape(listed.done_by)})")
    table = Table("Table", "Rows", "Deleted", "Inserted", "Changed in", box=None)
    for row in found["tables"]:
        counts = (number(row[name]) for name in ("rows", "deleted", "inserted"))
        table.add_row(row["table"], *counts, f"{row['changed_in']}")
    out.print(table)
    not_met = sum(row["not_met"] for row in found["audit"])
    expectations = sum(row["expectations"] for row in found["audit"])
    out.print(f"{number(expectations)} expectations audited it, {number(not_met)} were not met")


@publication.command("diff", epilog="Example: kkbc publication diff 42 --branch KC044")
def show_differences(
    which: NumberArgument = None,
    branch: Annotated[str | None, typer.Option("--branch", metavar="KC044", help="Totals of this branch only.")] = None,
    json: JsonOption = False,
) -> None:
    """Shows what a publication changed: totals per branch and month, before and after it, and rows of every table."""
    from kkbc.publishing.inspect import differences
    from kkbc.publishing.inspect import publication as look

    listed, rows = differences(which, branch=branch)
    if json:
        print_json(_plain(rows))
        return
    out.print(f"[bold]Publication {listed.publication_id}[/bold] up to {listed.as_of}")
    _print_totals(rows)
    changed = [row for row in look(which)["tables"] if row["deleted"] or row["inserted"]]
    if branch is None and changed:
        table = Table("Table", "Deleted", "Inserted", box=None)
        for row in changed:
            table.add_row(row["table"], number(row["deleted"]), number(row["inserted"]))
        out.print(table)


def _print_totals(rows: list[dict[str, Any]]) -> None:
    if not rows:
        out.print("No total of a branch and month differs.")
        return
    table = Table("Branch", "Month", "Total", "Before", "After", "Difference", box=None)
    for name in ("Before", "After", "Difference"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for row in rows[:SHOWN]:
        change = (row["after"] or 0) - (row["before"] or 0)
        cells = (number(row["before"]), number(row["after"]), f"{'+' if change > 0 else ''}{number(change)}")
        table.add_row(row["branch_id"], f"{row['month']:%Y-%m}", row["metric"], *cells)
    out.print(table)
    if len(rows) > SHOWN:
        out.print(f"... and {number(len(rows) - SHOWN)} more: --branch narrows them down, --json has all")


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
