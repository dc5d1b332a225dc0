"""`kkbc migrate` and `kkbc export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kkbc.cli.console import out, print_json, say


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("migrate", epilog="Example: KKBC_DATABASE_URL=postgresql://owner@dw/kkbc kkbc migrate")(migrate)
    app.command("export", epilog="Example: kkbc export --schema bi --format parquet --out marts")(export)


def migrate() -> None:
    """Brings schema, roles and tables of the warehouse to the newest version; starts the embedded server if need be."""
    from kkbc.warehouse.prepare import prepare

    prepare()
    out.print("The warehouse is at the newest schema.")


def export(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to write to; made if it is not there.")],
    schema: Annotated[str, typer.Option(help="bi, or bi_detail (facts by participant token).")] = "bi",
    format_: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="File format.")] = "csv",
    json: Annotated[bool, typer.Option("--json", help="Tables and rows as JSON on stdout.")] = False,
) -> None:
    """Writes every published mart of a schema to a file, ordered by its grain, all of one publication."""
    from kkbc.exporting import export as write

    written = write(schema, format_, out_dir, lambda table, rows: say(f"{table}: {rows} rows"))
    if json:
        print_json(written)
    else:
        out.print(f"{len(written)} tables of schema {schema} written to {out_dir}")
