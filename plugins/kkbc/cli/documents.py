"""`kkbc docs` and `kkbc query`."""

import csv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kkbc.cli.console import out, place, print_json, say
from kkbc.core.cell_text import text_of
from kkbc.core.errors import UserError
from kkbc.core.files import replacing


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("docs", epilog="Example: kkbc docs --out public")(docs)
    app.command(
        "query", epilog="Example: kkbc query acquisitions aktif --by metric_time__month --by branch__kanwil_name"
    )(query)


def docs(
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write to; made if it is not there. Default: docs of the home."),
    ] = None,
) -> None:
    """Writes the docs site: docs, data dictionary, lineage, audit results, dbt's site, and the reconciliation."""
    from kkbc.upkeep.documents import write_documents

    pages = write_documents(out_dir)
    for page in pages:
        out.print(place(page), markup=False, soft_wrap=True)
    say(f"Open {place(pages[0])} in a browser: it leads to all the others, and its search finds every page.")


def query(
    metrics: Annotated[list[str] | None, typer.Argument(help="Metrics, e.g. registrations aktif.")] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Grouping, e.g. metric_time__month or branch__kanwil_name; repeatable.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Condition, e.g. \"{{ Dimension('branch__kanwil_id') }} = 'KW01'\"; repeatable."),
    ] = None,
    order: Annotated[
        list[str] | None,
        typer.Option(help="Column to order by, descending with a minus before it; repeatable. Default: by time."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
    saved: Annotated[str | None, typer.Option(help="A saved query instead of metrics.")] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Metrics and saved queries; with metrics, what they may be grouped by.")
    ] = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the rows to this CSV file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON on stdout.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Show the SQL on stderr too.")] = False,
) -> None:
    """Asks the semantic layer for metrics of the published marts."""
    from kkbc.marts.semantic import Metrics

    layer = Metrics()
    if listing:
        _list(layer.groupings(metrics) if metrics else [f"{n}: {t}" for n, t in (layer.labels | layer.saved).items()])
        return
    if bool(metrics) == (saved is not None):
        raise UserError("name metrics, or a saved query", "`kkbc query --list` names both")
    # Rows by time come in its order, where no other is asked for: the SQL alone would give them in any.
    order = order or [name for name in by or [] if name.startswith("metric_time")]
    answer = layer.ask(metrics or [], by or [], where=where or [], order=order, limit=limit, saved=saved)
    if sql:
        say(answer.sql)
    if csv_file is not None:
        with replacing(csv_file) as made, made.open("w", newline="", encoding="utf-8") as file:
            rows = ([text_of(value) for value in row] for row in answer.rows)
            csv.writer(file, lineterminator="\n").writerows([answer.columns, *rows])
        out.print(f"{len(answer.rows)} rows written to {csv_file}")
    elif json:
        print_json([dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows])
    else:
        table = Table(*(layer.labels.get(column, column) for column in answer.columns), box=None)
        for row in answer.rows:
            table.add_row(*(_shown(value) for value in row))
        out.print(table)


def _list(lines: list[str]) -> None:
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    """A value as JSON has it: whole numbers whole, days as ISO."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return int(value) if hasattr(value, "as_integer_ratio") and value == int(value) else str(value)


def _shown(value: Any) -> str:
    """A value for a table; numbers Indonesian style, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not hasattr(value, "as_integer_ratio"):
        return str(value)
    text = f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
    return text.translate(str.maketrans(",.", ".,"))
