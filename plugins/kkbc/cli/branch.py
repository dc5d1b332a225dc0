"""`kkbc branch`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from kkbc.cli.console import number, out, print_json

if TYPE_CHECKING:
    from kkbc.exchange.slices import Delivery


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command("branch", epilog="Example: kkbc branch KC044 --look")(branch)


def branch(
    branch_id: Annotated[str, typer.Argument(help="A branch of the registry like KC044, or HQ.")],
    look: Annotated[
        bool, typer.Option("--look", help="Enter the branch now and list what it offers; nothing is taken.")
    ] = False,
    way: Annotated[
        str | None,
        typer.Option(metavar="KIND[:CONNECTION]", help="With --look: by this way instead of the registry's."),
    ] = None,
    source_root: Annotated[
        Path | None, typer.Option(help="With --look: folder of kind file; default: KKBC_SOURCE_ROOT.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
) -> None:
    """Shows how visits to a branch went and what it delivered, or what it offers right now."""
    from kkbc.watching import branch

    if look:
        _show_offer(branch_id, branch.offered(branch_id, way, source_root), json=json)
        return
    known = branch.report(branch_id)
    if json:
        print_json(known.as_json())
        return
    entry = {name: value for name, value in known.entry.items() if value not in (None, "")}
    out.print(" ".join(f"{name}={value}" for name, value in entry.items()))
    if known.failing_since:
        out.print(f"[red]failing since {known.failing_since.isoformat(timespec='seconds')}[/red]")
    if known.nights:
        out.print(_table("Nights", known.nights))
    out.print(_table("Visits", known.attempts) if known.attempts else "Never visited.")
    out.print(_table("Deliveries", known.slices) if known.slices else "Nothing was ever delivered.")


def _show_offer(branch_id: str, offered: "Sequence[Delivery]", *, json: bool) -> None:
    """Shows the entries of the manifests that a branch has there."""
    from kkbc.exchange.masking import shown_name

    found = [
        {
            "business_date": delivery.business_date.isoformat(),
            "manifest": shown_name(delivery.manifest_name),
            "feed": entry.feed,
            "revision": delivery.slice_of(entry).revision,
            "rows": entry.rows,
            "rejection": delivery.rejection[0] if delivery.rejection else None,
        }
        for delivery in offered
        for entry in delivery.entries
    ]
    if json:
        print_json(found)
    else:
        out.print(_table(f"{branch_id} offers", found) if found else f"{branch_id} was entered, and offers nothing.")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(*rows[0], title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    if value is None or value == []:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, list):
        return escape("; ".join(map(str, value)))
    if isinstance(value, dict):
        kept = {name: part for name, part in value.items() if name in ("extra_columns", "missing_columns")}
        if value.get("encoding") == "windows-1252":  # Exchange rule 31
            kept["encoding"] = ["windows-1252"]
        return escape("; ".join(f"{name}: {', '.join(part)}" for name, part in kept.items()))
    return escape(value.isoformat(sep=" ", timespec="seconds") if hasattr(value, "hour") else str(value))
