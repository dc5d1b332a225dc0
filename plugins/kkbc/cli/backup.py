"""`kkbc backup`, with `list` and `verify`, and `kkbc restore`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kkbc.cli.console import bar, number, out, print_json, say

Place = Annotated[str, typer.Argument(metavar="DIR", help="Folder or fsspec URI that backups were written to.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
LISTED = 5

backup = typer.Typer(
    help="Takes a backup of warehouse, landing and Airflow's metadata; lists and verifies those that were taken.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(backup, name="backup", epilog="Example: kkbc backup --to /mnt/backup/kkbc --keep 14")
    app.command("restore", epilog="Example: kkbc restore /mnt/backup/kkbc --keys-from /media/safe/20231213T053000Z")(
        restore
    )


@backup.callback()
def take(
    context: typer.Context,
    to: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder or fsspec URI; default: the setting backup_to.")
    ] = None,
    keys_to: Annotated[
        Path | None, typer.Option(help="Also copy the keys, into a folder elsewhere; without it they are in no backup.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep that many backups and remove older ones; default: keep all.")
    ] = None,
    no_airflow: Annotated[bool, typer.Option("--no-airflow", help="Leave Airflow's metadata out.")] = False,
    suppression_only: Annotated[
        bool, typer.Option("--suppression-only", help="Only bring the list of erased persons there up to date.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Takes a backup. Nights go on meanwhile; a build waits until the warehouse is dumped.

    Exit status 1 when landing lacks the bytes of a slice in force.
    """
    if context.invoked_subcommand is not None:
        return
    from kkbc.upkeep import backup as verbs

    if suppression_only:
        count = verbs.keep_suppression(to)
        print_json({"suppressed": count}) if json else out.print(f"{number(count)} persons on the suppression list")
        return
    with bar("landing") as progress:
        taken = verbs.backup(to, keys_to=keys_to, keep=keep, airflow=not no_airflow, progress=progress, say=say)
    manifest = taken.manifest
    if json:
        print_json({**manifest.summary(), "removed": taken.removed, "missing": taken.missing})
    else:
        out.print(_line(manifest), soft_wrap=True)
        for name in taken.removed:
            out.print(f"{name} removed")
    _tell_missing(taken.missing)
    if keys_to is not None:
        say(f"The keys are in {keys_to / manifest.name}.")
    elif manifest.key_fingerprint:
        say("The keys are not in it: keep a copy of them elsewhere, --keys-to makes one.")
    if taken.missing:
        raise typer.Exit(1)


@backup.command("list", epilog="Example: kkbc backup list /mnt/backup/kkbc")
def list_backups(place: Place, json: JsonOption = False) -> None:
    """Lists the whole backups of a folder, oldest first; one that was interrupted is none."""
    from kkbc.upkeep.backup import Store

    store = Store(place)
    store.latest()  # a folder without any is a mistake
    found = [store.manifest(name) for name in store.names()]
    if json:
        print_json([manifest.summary() for manifest in found])
        return
    table = Table("Backup", "Schema", "Dump MB", "Landing MB", "New MB", "Airflow", "Erased", box=None)
    for one in found:
        sizes = (number(size / 1e6) for size in (one.dump_bytes, one.landing_bytes, one.new_bytes))
        table.add_row(one.name, one.schema_version, *sizes, "yes" if one.airflow else "no", number(one.suppressed))
    out.print(table)


@backup.command("verify", epilog="Example: kkbc backup verify /mnt/backup/kkbc 20231213T053000Z")
def verify_backup(
    place: Place,
    name: Annotated[str | None, typer.Argument(help="The backup; default: the latest.")] = None,
    json: JsonOption = False,
) -> None:
    """Reads every byte of a backup and compares it with what was written; exit status 1 names what is damaged."""
    from kkbc.upkeep.backup import Store, verify

    store = Store(place)
    name = name or store.latest()
    with bar("contents") as progress:
        wrong = verify(store, name, progress)
    if json:
        print_json({"name": name, "damaged": wrong})
    elif not wrong:
        out.print(f"{name} is whole")
    for line in wrong:
        say(line)
    if wrong:
        raise typer.Exit(1)


def restore(
    place: Place,
    name: Annotated[str | None, typer.Argument(help="The backup; default: the latest.")] = None,
    keys_from: Annotated[
        Path | None, typer.Option(help="Folder with the keys, as --keys-to made it; default: those in the home.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move the home that is there aside.")] = False,
    landing_in_place: Annotated[
        bool, typer.Option("--landing-in-place", help="Landing was not lost: leave it as it is.")
    ] = False,
    suppression: Annotated[
        Path | None, typer.Option(help="A newer suppression list than the one beside the backups.")
    ] = None,
    no_airflow: Annotated[bool, typer.Option("--no-airflow", help="Leave Airflow's metadata out.")] = False,
    json: JsonOption = False,
) -> None:
    """Restores a backup into an empty home, or an empty database of KKBC_DATABASE_URL.

    Exit status 1 when persons who were erased after the backup are in it and still have to be erased again, or when
    landing lacks the bytes of a slice in force.
    """
    from kkbc.upkeep import backup as verbs

    with bar("landing") as progress:
        result = verbs.restore(
            place,
            name,
            keys_from=keys_from,
            replace=replace,
            landing_in_place=landing_in_place,
            suppressed=suppression,
            airflow=not no_airflow,
            progress=progress,
            say=say,
        )
    told = {key: value for key, value in asdict(result).items() if key not in ("manifest", "moved_aside")}
    if json:
        aside = str(result.moved_aside) if result.moved_aside else None
        print_json({**result.manifest.summary(), "moved_aside": aside, **told})
    else:
        out.print(f"{result.manifest.name} is restored", soft_wrap=True)
    _tell_rest(result)
    if result.to_erase or result.missing:
        raise typer.Exit(1)


def _tell_rest(result: Any) -> None:
    """What is left to a person after a restore."""
    if result.moved_aside:
        say(f"The home that was there is now {result.moved_aside}; remove it when it is not needed any more.")
    if result.logins:
        say(f"Logins without a password, give each a new one: {', '.join(result.logins)}")
    if result.erased:
        say(f"{number(result.erased)} persons who were erased after the backup were erased again.")
    _tell_missing(result.missing)
    if result.to_erase:
        say(f"{number(result.to_erase)} persons of the suppression list are in it and STILL HAVE TO BE ERASED.")


def _tell_missing(missing: list[str]) -> None:
    if missing:
        more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        say(f"Landing does not hold the bytes of {', '.join(missing[:LISTED])}{more}")


def _line(manifest: Any) -> str:
    return (
        f"{manifest.name}: {number(sum(manifest.rows.values()))} rows in {number(manifest.dump_bytes / 1e6)} MB,"
        f" landing {number(manifest.landing_files)} files of {number(manifest.landing_bytes / 1e6)} MB,"
        f" {number(manifest.new_objects)} contents of {number(manifest.new_bytes / 1e6)} MB are new"
    )
