"""`kkbc simulate`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from kkbc.cli.console import out, print_json


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("simulate", epilog="Example: kkbc simulate --nights 3 --scale national --out world")(simulate)


def simulate(
    nights: Annotated[int, typer.Option(min=1, help="Nights to play on.")] = 1,
    scale: Annotated[
        Literal["default", "national"],
        typer.Option(
            help="default: 2,000 registrations and 10,000 contributions a night; national: 20,000 and 240,000."
        ),
    ] = "default",
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder of the world; default: <home>/world.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of a new world.")] = 20231211,
    first_date: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="First business date of a new world.")
    ] = datetime(2023, 12, 11),
    truth: Annotated[bool, typer.Option(help="Write what the marts must show to <world>/truth.")] = True,
    json: Annotated[bool, typer.Option("--json", help="The nights as JSON on stdout.")] = False,
) -> None:
    """Plays the branches: writes the deliveries of the next nights, good and bad, and the truth about them."""
    from kkbc.cli.night import night_progress
    from kkbc.settings import get_settings
    from kkbc.simulator import DEFAULT, NATIONAL, World

    folder = out_dir or get_settings().home / "world"
    chosen = {"default": DEFAULT, "national": NATIONAL}[scale]
    world = World(folder, seed=seed, scale=chosen, first_date=first_date.date(), truth=truth)
    played = []
    with night_progress() as progress:
        for _ in range(nights):
            played.append(world.play_night(lambda done, total, what: progress("simulate", done, total)))
    if json:
        print_json([{"business_date": n.business_date.isoformat(), "slices": n.slices, "rows": n.rows} for n in played])
        return
    for n in played:
        out.print(f"{n.business_date}: {n.slices} slices, {n.rows} rows under {folder / 'branches'}")
