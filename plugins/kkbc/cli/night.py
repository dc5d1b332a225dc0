"""`kkbc run` and `kkbc status`."""

from datetime import datetime
from json import loads
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from kkbc.cli.console import err, number, out, percent, print_json, say
from kkbc.core.errors import UserError
from kkbc.core.extensions import extension

_SourceRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the deliveries of all branches as files, {branch_id}/{YYYY-MM-DD}/manifest.json ..."
        " Default: each branch by its own way, as in the registry."
    ),
]
_AsOf = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"],
        help="Business date up to which deliveries are pulled and marts built. Default: the latest that is due.",
    ),
]
_Way = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BRANCH=KIND[:CONNECTION]",
        help="Another way for a branch in this run only (* for all), like KC044=sftp:branch_044. Repeatable.",
    ),
]
_Ways = Annotated[
    Path | None, typer.Option(help="JSON file of such ways: {branch_id: kind[:connection]}; --way comes on top.")
]
_FirstDay = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="First day of the daily marts; kept for later runs. Default: as kept."),
]
# Characters of a statement in the report of slow ones; JSON has more.
SHOWN = 240
Gate = Annotated[
    Literal["fail", "warn"] | None,
    typer.Option(help="fail: a failed audit stops publication (default); warn: report and publish."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("run", epilog="Example: kkbc run --source-root deliveries --as-of 2024-03-01 --gate warn")(run)
    app.command("status", epilog="Example: kkbc status --json | jq .national")(show_status)


def run(
    source_root: _SourceRoot = None,
    as_of: _AsOf = None,
    way: _Way = None,
    ways: _Ways = None,
    first_business_date: _FirstDay = None,
    gate: Gate = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Rebuild all marts, instead of what the new slices touch.")
    ] = False,
    airflow: Annotated[bool, typer.Option("--airflow", help="Through Airflow instead of in this process.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on stdout.")] = False,
) -> None:
    """Runs one night: pull, load, build, audit, publish.

    The pulls take what the branches offer now. Running the same night again changes nothing.
    """
    from kkbc.nights import RunRequest, plain

    request = RunRequest(
        as_of=as_of.date() if as_of else None,
        source_root=source_root.resolve() if source_root else None,
        ways=_ways(ways, way or []),
        first_business_date=first_business_date.date() if first_business_date else None,
        gate=gate,
        full_refresh=full_refresh,
    )
    if airflow:
        with night_progress() as progress:
            outcome: dict[str, Any] = extension("kkbc.runners", "airflow")(request, progress)
        plain.print_outcome(outcome, say)
    else:
        with night_progress() as progress:
            outcome = plain.run_night(request, progress, say)
    if json:
        print_json(outcome)
        return
    if outcome["publication_id"] is None:
        say(f"nothing new up to {outcome['as_of']}: what was published before stays")
    print_status(outcome["run_id"])


def _ways(file: Path | None, given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if file is not None:
        try:
            found = {str(branch): str(way) for branch, way in loads(file.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"{file} cannot be read as ways", 'it looks like {"KC044": "sftp:branch_044"}') from error
    for text in given:
        branch, _, way = text.partition("=")
        if not branch or not way:
            raise UserError(f"--way {text!r} names no branch and way", "write it like KC044=sftp:branch_044")
        found[branch] = way
    return found


class night_progress:
    """A bar a stage on a terminal; a line a stage elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err,
            disable=not err.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "night_progress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Shows that `done` of `total` parts of `stage` are finished."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)
        if done == total and not err.is_terminal:
            say(f"{stage}: {done}/{total}")


def show_status(
    slow: Annotated[
        bool, typer.Option("--slow", help="Instead: the slowest SQL statements since the last night began.")
    ] = False,
    most: Annotated[int, typer.Option("--most", min=1, help="With --slow: number of statements.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="The status as JSON on stdout.")] = False,
) -> None:
    """Shows the last published night: national figures, best and worst branches, quarantine, what is owed."""
    from kkbc.watching.status import slow_statements, status

    if slow:
        found = slow_statements(most)
        print_json(found) if json else _print_slow(found)
    elif json:
        print_json(status().as_json())
    else:
        print_status()


def print_status(run_id: str | None = None) -> None:
    """Prints the status for people, with the steps of run `run_id` (None: of the latest one)."""
    from kkbc.watching.status import status

    found = status(run_id)
    if found.last_run is None:
        out.print("No night has run yet: `make run` plays three, `kkbc run` runs one over your own folder.")
        return
    latest = found.last_run
    out.print(f"Last run {latest['run_id']} for {latest['as_of']}: {latest['outcome']}")
    for step in found.steps:
        out.print(f"  {step['step']:<22} {step['seconds'] or 0:6.1f} s  {step['outcome']}")
    for failure in found.failed_expectations:
        out.print(f"  [yellow]{failure['severity']}[/yellow]", escape(failure["told"]), soft_wrap=True)
    for warning in found.data_warnings:
        out.print("  [yellow]warn[/yellow]", warning["test"], escape(warning["message"] or ""), soft_wrap=True)
    if found.national is None:
        out.print("Nothing is published yet.")
        return
    if found.restores is not None:
        why = escape(found.rolled_back_why or "")
        out.print(f"[yellow]Rolled back[/yellow] to publication {found.restores}: {why}", soft_wrap=True)
    out.print(f"\n[bold]Nasional {found.published_as_of:%d-%m-%Y}[/bold]")
    out.print(_national(found.national))
    out.print(_branches("Capaian tertinggi", found.best))
    out.print(_branches("Capaian terendah", found.worst))
    out.print(_counts("Karantina menurut alasan", found.quarantined))
    out.print(_owing(found.owing))


def _print_slow(rows: list[dict[str, Any]]) -> None:
    """One line of figures for each statement, then the statement."""
    if not rows:
        out.print("No statement has run since the statistics began.")
        return
    out.print(f"Statements since {rows[0]['since']}, by total time:", markup=False)
    for row in rows:
        place = " ".join(filter(None, (row["part"], row["model"])))
        out.print(
            f"\n{row['total_seconds']:9.2f} s in {row['calls']} calls of {row['mean_seconds'] * 1000:.1f} ms,"
            f" {row['rows']} rows: {place} ({row['role']})",
            soft_wrap=True,
            markup=False,
        )
        out.print(f"  {row['statement'][:SHOWN]}", soft_wrap=True, markup=False)


def _national(row: dict[str, Any]) -> Table:
    labels = {
        "branches_reported": "Kantor cabang melapor",
        "registrations": "Pendaftaran",
        "acquisitions": "Akuisisi",
        "reactivations": "Reaktivasi",
        "aktif": "Peserta aktif",
        "menunggak": "Menunggak",
        "non_aktif": "Non-aktif",
        "belum_aktif": "Belum aktif",
        "contributions_idr": "Iuran (Rp)",
    }
    table = Table(show_header=False, box=None)
    for name, label in labels.items():
        value = number(row[name])
        if name == "branches_reported":
            value += f" / {number(row['branches_expected'])}"
        table.add_row(label, value)
    table.add_row("Aktivasi 30 hari", percent(row["activation_rate_30d"]))
    table.add_row("Capaian target bulan ini", percent(row["attainment_mtd"]))
    table.columns[1].justify = "right"
    return table


def _branches(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table("Kantor", "Nama", "Pendaftaran", "Akuisisi", "Capaian", title=title, title_justify="left", box=None)
    for row in rows:
        cells = (number(row["registrations"]), number(row["acquisitions"]), percent(row["attainment_mtd"]))
        table.add_row(row["branch_id"], row["branch_name"], *cells)
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def _counts(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table("Kode", "Baris", title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(row["code"], number(row["rows"]))
    table.columns[1].justify = "right"
    return table


def _owing(rows: list[dict[str, Any]], shown: int = 20) -> Table:
    table = Table(
        "Tanggal", "Status", "Kantor", "Umpan", title="Belum, ditolak, terlambat", title_justify="left", box=None
    )
    merged: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        place = (f"{row['business_date']:%d-%m-%Y}", row["status"], f"{row['branch_id']} {row['branch_name']}")
        merged.setdefault(place, []).append(f"{row['feed']} ({row['reason']})" if row["reason"] else row["feed"])
    for place, feeds in list(merged.items())[:shown]:
        table.add_row(*place, ", ".join(feeds))
    if len(merged) > shown:
        table.add_row("", "", f"... dan {len(merged) - shown} lagi: kkbc status --json")
    return table
