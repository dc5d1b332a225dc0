"""`kkbc new feed`."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kkbc.cli.console import out, say


class Sender(StrEnum):
    """Who sends a feed, as the command line has it."""

    BRANCH = "branch"
    HEAD_OFFICE = "head-office"


def register(new: typer.Typer) -> None:
    """Adds the command of this module to the group."""
    new.command(
        "feed", epilog='Example: kkbc new feed klaim --columns "id:key,tanggal:date,nik:nik,nama:name,jumlah:amount"'
    )(feed)


def feed(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the feed in deliveries.")],
    columns: Annotated[
        str,
        typer.Option(
            metavar="NAME:KIND,...",
            help="Its columns as delivered, one of kind key. Kinds: key, branch, updated, code or code(A|B), date,"
            " due_date, timestamp, month, int, amount, nik, name, birth_date, phone, email, text; ? after a kind: the"
            " value may be missing.",
        ),
    ],
    sender: Annotated[Sender, typer.Option("--from", help="Who sends it.")] = Sender.BRANCH,
    expected_from: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="First business date that its senders owe it for; default: the latest that is due.",
        ),
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(help="Folder for a sample delivery; default: samples/NAME in the home.")
    ] = None,
) -> None:
    """Writes contract, staging model with its properties and expectations of a new feed, and a sample delivery."""
    from kkbc.upkeep.scaffold.feed import add_feed

    written = add_feed(
        name,
        columns,
        sender="branch" if sender is Sender.BRANCH else "head_office",
        expected_from=expected_from.date() if expected_from else None,
        sample=sample,
    )
    for path in written.files:
        out.print(str(path), soft_wrap=True, markup=False)
    out.print(f"sample delivery: {written.sample}", soft_wrap=True, markup=False)
    say("next: read the files, then kkbc migrate; see docs/runbooks/add-a-feed.md")
