"""`kkbc bi`: users, check, exposures, bundle. `kkbc_play` adds what starts and stops Superset on this machine."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kkbc.cli.console import out, print_json, say

bi = typer.Typer(
    help="Superset: its dashboards as code, and its users, made from the readers.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(bi, name="bi", epilog="Example: kkbc bi check --manifest target/manifest.json")


@bi.command("users", epilog="Example: kkbc bi users --url http://superset:8088 --password-file admin.password")
def make_users(
    url: Annotated[str, typer.Option(help="Superset's address. Default: the one of this home.")] = "",
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password of its user admin. Default: KKBC_BI_ADMIN_PASSWORD.")
    ] = None,
) -> None:
    """Gives every reader of `kkbc reader list` a user in Superset, and disables those who see nothing any more.

    Initial passwords are written to <keys>/superset-users.json, mode 0600.
    """
    from kkbc.core.errors import UserError
    from kkbc.core.extensions import extension

    if url:
        password = password_file.read_text().strip() if password_file else os.environ.get("KKBC_BI_ADMIN_PASSWORD", "")
        if not password:
            raise UserError("the password of Superset's admin is not known", "give --password-file")
    else:
        url, password = extension("kkbc.superset", "local")()
    show_users(url, password)


def show_users(url: str, password: str) -> None:
    """Makes the users of the Superset at `url`, and tells what was done."""
    from kkbc.core.settings import get_settings
    from kkbc.upkeep.bi_logins import mapping
    from kkbc.upkeep.dashboards import users
    from kkbc.upkeep.dashboards.api import session

    readers = list(dict.fromkeys(mapped.reader for mapped in mapping()))
    kept = get_settings().keys / "superset-users.json"
    with session(url, password) as api:
        done = users.synchronise(api, readers, users.keeping(kept))
    for what, names in (
        (f"made, initial passwords in {kept}", done.created),
        ("may come in again", done.enabled),
        ("may no longer come in", done.disabled),
        ("left alone, for somebody else made that user", done.foreign),
        (f"no user, for the name has more than {users.LONGEST} characters", done.refused),
    ):
        if names:
            out.print(f"{what}: {escape(', '.join(names))}", soft_wrap=True)
    if not readers:
        say("nobody sees any row: `kkbc reader grant NAME BRANCH...`, then `kkbc bi users`")


@bi.command("check", epilog="Example: kkbc bi check --manifest target/manifest.json")
def check(
    manifest: Annotated[Path, typer.Option(help="manifest.json of dbt.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
) -> None:
    """Follows each chart to its dataset, models and columns; exit status 1 when one is missing.

    Exposures in the dbt project that are not those of the dashboards, and secrets in the bundle, are faults too.
    """
    from kkbc.upkeep.dashboards import load_bundle
    from kkbc.upkeep.dashboards.chain import faults, models_of
    from kkbc.upkeep.dashboards.exposures import FILE, exposures

    bundle = load_bundle()
    found = faults(bundle, models_of(manifest, bundle.database.schema_name))
    if not found and (not FILE.is_file() or FILE.read_text(encoding="utf-8") != exposures(bundle)):
        found = [f"{FILE} does not have the exposures of the dashboards: `kkbc bi exposures` writes them"]
    if json:
        print_json({"charts": len(bundle.charts), "faults": found})
    else:
        for fault in found:
            out.print(escape(fault), soft_wrap=True)
        if not found:
            charts = f"{len(bundle.charts)} charts of {len(bundle.dashboards)} dashboards"
            out.print(f"bi: {charts} end in columns of models that are there")
    if found:
        raise typer.Exit(1)


@bi.command("exposures", epilog="Example: kkbc bi exposures")
def write_exposures() -> None:
    """Writes the dashboards as exposures into the dbt project."""
    from kkbc.upkeep.dashboards import load_bundle
    from kkbc.upkeep.dashboards.exposures import FILE, exposures

    FILE.write_text(exposures(load_bundle()), encoding="utf-8")
    out.print(f"{FILE} written", soft_wrap=True)


@bi.command("bundle", epilog="Example: kkbc bi bundle kkbc.zip")
def write_bundle(target: Annotated[Path, typer.Argument(metavar="FILE", help="The zip file.")]) -> None:
    """Writes the bundle as the zip file that bi/superset/prepare.py imports."""
    from kkbc.upkeep.dashboards import load_bundle
    from kkbc.upkeep.dashboards.files import write

    write(load_bundle(), target)
    out.print(f"{target} written", soft_wrap=True)
