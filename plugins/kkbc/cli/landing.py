"""`kkbc landing`: status, encrypt, rotate-key, drop-key."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from kkbc.cli.console import bar, number, out, print_json, say

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be; nothing is changed.")]

landing = typer.Typer(
    help="Encryption of landing: what is encrypted under which key, and changes of that.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(landing, name="landing", epilog="Example: KKBC_LANDING_ENCRYPTION=true kkbc landing encrypt")


@landing.command("status", epilog="Example: kkbc landing status --json | jq .clear")
def status(json: JsonOption = False) -> None:
    """Counts the files in the clear, and those under each key, by the header of every file."""
    from kkbc.upkeep.landing_encryption import standing

    with bar("looking") as progress:
        found = standing(progress)
    if json:
        print_json(asdict(found))
        return
    out.print(f"{number(found.files)} files, {number(found.clear)} of them in the clear")
    for key_id, count in found.by_key.most_common():
        out.print(f"{number(count)} encrypted under the key {key_id}")
    if found.damaged:
        out.print(f"{number(found.damaged)} with a damaged header")


@landing.command("encrypt", epilog="Example: KKBC_LANDING_ENCRYPTION=true kkbc landing encrypt --dry-run")
def encrypt(dry_run: DryRunOption = False, json: JsonOption = False) -> None:
    """Encrypts the files that lie in landing in the clear. New ones are encrypted while `landing_encryption` is on.

    Can be ended and run again at any moment. Visits to a branch wait while its files are at work.
    """
    from kkbc.upkeep import landing_encryption

    with bar("encrypting") as progress:
        done = landing_encryption.encrypt(progress, dry_run=dry_run)
    _report(done, "to encrypt" if dry_run else "encrypted", json)


@landing.command("rotate-key", epilog="Example: kkbc landing rotate-key --dry-run")
def rotate_key(dry_run: DryRunOption = False, json: JsonOption = False) -> None:
    """Puts another key in the place of the one that landing is encrypted under; contents stay as they are.

    A key file gets a new key, put before the earlier one. Keys in KKBC_LANDING_KEY or in an Airflow connection are put
    there first by whoever keeps them, with a comma between. Files can be read under either meanwhile. Can be ended and
    run again at any moment; `kkbc landing drop-key` is the last step.
    """
    from kkbc.upkeep import landing_encryption

    with bar("wrapping data keys") as progress:
        done = landing_encryption.rotate(progress, dry_run=dry_run)
    _report(done, "to change" if dry_run else "changed", json)
    if not (dry_run or done.failed):
        say("All files are under the new key. `kkbc landing drop-key` takes the earlier one away.")


@landing.command("drop-key", epilog="Example: kkbc landing drop-key")
def drop_key(json: JsonOption = False) -> None:
    """Takes keys that no file needs any more out of the key file, after a look at every file; the first stays."""
    from kkbc.core import landing_keys
    from kkbc.upkeep import landing_encryption

    with bar("looking") as progress:
        dropped = landing_encryption.drop(progress)
    if json:
        print_json({"dropped": dropped})
        return
    if not dropped:
        out.print("there is no key to drop")
    elif landing_keys.in_file():
        out.print(f"no file of landing needs {', '.join(dropped)}: dropped")
    else:
        out.print(f"no file of landing needs {', '.join(dropped)}")
        say(f"Take them out of {landing_keys.place()}.")


def _report(done: Any, what: str, json: bool) -> None:
    """Exit status 1 when a file was left as it was."""
    if json:
        print_json(done.as_json())
    else:
        out.print(f"{number(done.files)} files, {number(done.changed)} {what}, {number(done.bytes)} bytes")
    for place, reason in done.failed.items():
        say(f"{place} failed: {reason}")
    if done.failed:
        raise typer.Exit(1)
