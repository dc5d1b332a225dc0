"""`kkbc migrate`, `kkbc export`, `kkbc verify` and `kkbc postgres-settings`."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from kkbc.cli.console import number, out, print_json, say
from kkbc.core.errors import UserError


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("migrate", epilog="Example: KKBC_DATABASE_URL=postgresql://owner@dw/kkbc kkbc migrate")(migrate)
    app.command("verify", epilog="Example: kkbc verify --against-rebuild --json | jq '.[] | select(.equal | not)'")(
        verify
    )
    app.command("export", epilog="Example: kkbc export --schema bi --format parquet --out marts")(export)
    app.command("postgres-settings", epilog="Example: kkbc postgres-settings --memory 64 --cores 16 > kkbc.conf")(
        postgres_settings
    )


def migrate() -> None:
    """Brings schema, roles and tables of the warehouse to the newest version; starts the embedded server if need be."""
    from kkbc.exchange.contracts import feeds
    from kkbc.nights.prepare import prepare

    prepare()
    out.print(f"The warehouse is at the newest schema, with tables for the feeds {', '.join(feeds())}.", soft_wrap=True)


def export(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to write to; made if it is not there.")],
    schema: Annotated[str, typer.Option(help="bi, or bi_detail (facts by participant token).")] = "bi",
    format_: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="File format.")] = "csv",
    json: Annotated[bool, typer.Option("--json", help="Tables and rows as JSON on stdout.")] = False,
) -> None:
    """Writes every published mart of a schema to a file, ordered by its grain, all of one publication."""
    from kkbc.upkeep.export import export as write

    written = write(schema, format_, out_dir, lambda table, rows: say(f"{table}: {rows} rows"))
    if json:
        print_json(written)
    else:
        out.print(f"{len(written)} tables of schema {schema} written to {out_dir}")


def postgres_settings(
    memory: Annotated[
        float | None, typer.Option(min=0.5, help="Memory of the server in GB; default: this machine's.")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores of the server; default: this machine's.")] = None,
) -> None:
    """Writes out, as lines of postgresql.conf, the settings for a PostgreSQL server of the given size.

    The embedded server has them already. For a server of your own, include the lines in its postgresql.conf.
    """
    from dataclasses import replace

    from kkbc.warehouse.server import CONFIGURATION
    from kkbc.warehouse.tuning import GB, Machine, derive

    machine = Machine.here()
    if memory is not None or cores is not None:
        # A server of its own: the rest of the platform is elsewhere.
        given = int(memory * GB) if memory is not None else machine.memory
        machine = replace(machine, memory=given, cores=cores or machine.cores, shared=False, parallel_memory=GB)
    everywhere = ("listen_addresses", "unix_socket_permissions")
    settings = {k: v for k, v in CONFIGURATION.items() if k not in everywhere} | dict(derive(machine))
    for name, value in sorted(settings.items()):
        typer.echo(f"{name} = {value}")


def verify(
    against_rebuild: Annotated[
        bool, typer.Option("--against-rebuild", help="Compare with marts that are rebuilt, aside, from all rows.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Every mart and month as JSON on stdout.")] = False,
) -> None:
    """Proves that the marts as they stand are those of a full rebuild; exit code 1 and the differences when not.

    Readers are not disturbed; loads and builds wait meanwhile.
    """
    from dataclasses import asdict

    from kkbc.marts.verify import verify_against_rebuild

    if not against_rebuild:
        raise UserError("there is nothing to verify against", "add --against-rebuild")
    compared = verify_against_rebuild()
    differing = [row for row in compared if not row.equal]
    if json:
        print_json(
            [{**asdict(row), "month": row.month and row.month.isoformat(), "equal": row.equal} for row in compared]
        )
    else:
        table = Table("Mart", "Months", "Rows", "Hash", box=None)
        for mart in dict.fromkeys(row.mart for row in compared):
            rows = [row for row in compared if row.mart == mart]
            equal = "equal" if all(row.equal for row in rows) else "[red]differs[/red]"
            table.add_row(mart, number(len(rows)), number(sum(row.rows for row in rows)), equal)
        out.print(table)
        for row in differing:
            month = f"{row.month:%Y-%m}" if row.month else "all"
            out.print(
                f"[red]{row.mart} {month}[/red]: {row.differing} rows differ"
                f" ({row.rows} stand, {row.rows_rebuilt} in the rebuild)"
            )
    say(f"{len(compared)} months of marts compared, {len(differing)} differ")
    if differing:
        raise typer.Exit(1)
