"""`kkbc reader`: who sees the rows of which branches."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from kkbc.cli.console import out, print_json, say, who

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
reader = typer.Typer(
    help="Who sees the rows of which branches in schema bi.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(reader, name="reader", epilog="Example: kkbc reader grant cabang_044 KC044")


@reader.command("grant", epilog="Example: kkbc reader grant andi 'DKI Jakarta'")
def grant_reader(
    name: Annotated[str, typer.Argument(metavar="READER", help="A login, or the name that a gateway gives.")],
    places: Annotated[
        list[str],
        typer.Argument(metavar="PLACE...", help="Branches (KC044), regional offices (KW04, 'DKI Jakarta'), or all."),
    ],
) -> None:
    """Lets a reader see the rows of branches in schema bi, besides what is of no branch."""
    from kkbc.upkeep import bi_logins

    given = bi_logins.grant(name, places, who=who())
    out.print(f"{escape(name)} sees {', '.join(given)} from now on" if given else f"{escape(name)} saw them before")
    standing = bi_logins.standing(name)
    if standing == "not in branch_bi":
        say(f'the login is not a member of branch_bi yet: grant branch_bi to "{name}"')
    elif standing == "sees all":
        say(f'the login sees all rows, whatever is granted here: revoke bi, analyst from "{name}"')
    elif standing == "no login":
        say("there is no login of that name: it holds for what a gateway gives in app.bi_user, with a ticket")
    say(f"Superset's users are made from the same table: `kkbc bi users` gives {name} one, `make bi` does so too")


@reader.command("revoke", epilog="Example: kkbc reader revoke cabang_044")
def revoke_reader(
    name: Annotated[str, typer.Argument(metavar="READER", help="As in `kkbc reader list`.")],
    places: Annotated[
        list[str] | None, typer.Argument(metavar="PLACE...", help="As they were granted; default: all of its.")
    ] = None,
) -> None:
    """Takes branches, regional offices or all from a reader; what it saw stays on record."""
    from kkbc.upkeep import bi_logins

    out.print(f"{escape(name)} no longer sees {', '.join(bi_logins.revoke(name, places or [], who=who()))}")


@reader.command("list", epilog="Example: kkbc reader list --json")
def list_readers(json: JsonOption = False) -> None:
    """Lists who sees what."""
    from kkbc.upkeep import bi_logins

    found = bi_logins.mapping()
    if json:
        print_json([{**asdict(mapped), "granted_at": mapped.granted_at.isoformat()} for mapped in found])
        return
    if not found:
        out.print("No reader sees the rows of any branch.")
        return
    table = Table("Reader", "Sees", "Since", "By", box=None)
    for mapped in found:
        since = f"{mapped.granted_at:%Y-%m-%d %H:%M}Z"
        table.add_row(escape(mapped.reader), mapped.scope, since, escape(mapped.granted_by))
    out.print(table)


@reader.command("key", epilog="Example: openssl rand -hex 32 | kkbc reader key --stdin")
def gateway_key(
    new: Annotated[bool, typer.Option("--new", help="Replace it; tickets under the old one end at once.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", help="Replace it by the one on standard input.")] = False,
) -> None:
    """Prints the key under which a gateway signs for whom it asks; the first time, makes it."""
    import secrets

    from kkbc.core.bi_tickets import KEY_BYTES
    from kkbc.upkeep import bi_logins

    if stdin:
        bi_logins.replace_gateway_key(sys.stdin.read().strip(), who=who())
        out.print("the key of the gateways is replaced")
        return
    print(bi_logins.replace_gateway_key(secrets.token_hex(KEY_BYTES), who=who()) if new else bi_logins.gateway_key())


@reader.command("limits", epilog="Example: kkbc reader limits | psql -U postgres -d kkbc")
def reader_limits() -> None:
    """Prints, as SQL for the server's administrator, what is left to do before no reader can hold up a night."""
    from kkbc.warehouse import access, connect

    with connect() as conn:
        for measure in access.outstanding(conn):
            print(f"{measure.statement};")
