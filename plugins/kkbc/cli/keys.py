"""`kkbc keys`."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from kkbc.cli.console import bar, number, out, print_json, say, who

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be; nothing is changed.")]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept in the record of accesses.")]

keys = typer.Typer(
    help="Keys of the participant tokens: which there are, the change to a new one, the end of the old one.",
    no_args_is_help=True,
    context_settings=SETTINGS,
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(keys, name="keys", epilog="Example: kkbc keys rotate --why 'yearly change'")


@keys.command("status", epilog="Example: kkbc keys status --json | jq .rows")
def show_status(json: JsonOption = False) -> None:
    """Shows the keys that the warehouse knows, and how many tokens each version has in every table."""
    from kkbc.upkeep.keys import standing

    found = standing()
    if json:
        print_json(found.as_json())
        return
    if found.version is None:
        out.print("Nothing is loaded yet: there are no tokens.")
        return
    table = Table("Key", "Version", "Fingerprint", "Since", box=None)
    for name, key in found.keys.items():
        version = found.version if name == "tokens" else ""
        table.add_row(name, version, key["fingerprint"], f"{key['since'][:16].replace('T', ' ')}Z")
    out.print(table)
    rows = Table("Tokens in", *(_version(version) for version in sorted(found.rows)), box=None)
    for name, counts in found.tables.items():
        rows.add_row(name, *(number(counts.get(version, 0)) for version in sorted(found.rows)))
    out.print(rows)
    if found.rotation:
        say("a rotation is not at its end: `kkbc keys rotate` goes on with it")
    for path in found.old:
        say(f"old key: {path} (`kkbc keys destroy-old` removes it)")


@keys.command("rotate", epilog="Example: kkbc keys rotate --why 'yearly change' --dry-run")
def rotate_key(
    why: WhyOption,
    lost: Annotated[
        bool, typer.Option("--lost", help="Do without the old key, which is lost: the vault has the NIKs.")
    ] = False,
    cut_unknown: Annotated[
        bool,
        typer.Option("--cut-unknown", help="Cut tokens of persons whom the vault no longer has; else they stop it."),
    ] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Makes a new key and replaces every stored token by one of it, without visiting a branch.

    No published figure changes and no reader waits. Nights, loads and publications wait while the tokens are replaced.
    When it breaks off, do it again: it goes on with what there is. Needs the login of the owner of the warehouse.
    """
    from kkbc.core.settings import get_settings
    from kkbc.upkeep.keys import foresee, rotate

    if dry_run:
        foreseen = foresee(lost=lost)
        if json:
            print_json({**asdict(foreseen), "dry_run": True})
            return
        out.print(
            f"Would be: {number(foreseen.persons)} tokens of version {foreseen.version:02x} replaced by tokens of"
            f" version {foreseen.next_version:02x}; {number(foreseen.unknown)} of persons whom the vault no longer has"
            f" cut; {number(foreseen.suppressed)} entries of the suppression list taken one key further."
        )
        return
    with bar("rotation") as moved:
        done = rotate(
            why=why,
            who=who(),
            lost=lost,
            cut_unknown=cut_unknown,
            step=lambda task, parts, total: moved(parts, total),
            wait=lambda: say("a night, build or publication is under way: waiting for it"),
        )
    if json:
        print_json({**asdict(done), "dry_run": False} if done else {"finished": True, "dry_run": False})
    elif done is None:
        out.print("The rotation that had broken off is at its end: nothing else was left to do.")
    else:
        out.print(
            f"{number(done.persons + done.cut)} tokens of version {done.version_before:02x} are now of version"
            f" {done.version:02x} ({number(done.cut)} cut), in {number(sum(done.rows.values()))} rows;"
            f" {number(done.suppressed)} entries of the suppression list went one key further."
        )
    connection = get_settings().pii_key_connection
    if connection:
        say(f"now move `next` to the password of Airflow connection {connection!r}, and `suppression_next`, if there")
        say("is one, to `suppression`: until then both are accepted")
    elif done is not None and lost:
        say("back the new keys up")
    else:
        say("back the new keys up; then `kkbc keys destroy-old` removes the old one")


@keys.command("destroy-old", epilog="Example: kkbc keys destroy-old --why 'changed on 2026-11-27' --dry-run")
def destroy_old_keys(why: WhyOption, dry_run: DryRunOption = False, json: JsonOption = False) -> None:
    """Removes the files of old keys, of which no token may be left in the warehouse.

    The files are unlinked: what the disk keeps of them depends on the disk. Backups hold them still, and with a backup
    of the key and one of the warehouse from before the rotation tokens lead back to NIKs: let both expire.
    """
    from kkbc.upkeep.keys import destroy_old

    gone = destroy_old(who=who(), why=why, dry_run=dry_run)
    if json:
        print_json({"removed": gone, "dry_run": dry_run})
        return
    for path in gone:
        out.print(f"{escape(path)} {'would be removed' if dry_run else 'is removed'}", soft_wrap=True)
    say("backups of the keys folder hold it still: let them expire, or remove it there")


def _version(version: str) -> str:
    return "cut" if version == "00" else f"version {version}"
