"""`kkbc simulate` and `kkbc simulate serve`."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kkbc.cli.console import out, print_json, say

if TYPE_CHECKING:
    from kkbc_play.simulator.servers.serving import Servers

_Misbehave = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BRANCH=HOW",
        help="What a branch does wrong: down, hang, slow:2, half, checksum, throttled, expired, revised, moved:http."
        " Repeatable; kept in <world>/misbehave.yml, where it can be changed at any time.",
    ),
]
_Scale = Annotated[
    Literal["default", "national"] | None,
    typer.Option(help="default: 2,000 registrations and 10,000 contributions a night; national: 20,000 and 240,000."),
]
_Ways = Annotated[
    Literal["mix", "file", "sftp", "s3", "http", "postgres"] | None,
    typer.Option(help="How the branches of a new world deliver; default: mix, which `serve` serves."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    group = typer.Typer(invoke_without_command=True)
    group.callback(epilog="Example: kkbc simulate --nights 3 --ways file --out world")(simulate)
    group.command("serve", epilog="Example: kkbc simulate serve --world world --misbehave KC010=down")(serve)
    app.add_typer(group, name="simulate")


def simulate(
    context: typer.Context,
    nights: Annotated[int, typer.Option(min=1, help="Nights to play on.")] = 1,
    scale: _Scale = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder of the world; default: <home>/world.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a new world; default: 20231211.")] = None,
    first_date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First business date of a new world; default: 2023-12-11."),
    ] = None,
    ways: _Ways = None,
    truth: Annotated[
        bool | None, typer.Option("--truth/--no-truth", help="Write what the marts must show to <world>/truth.")
    ] = None,
    misbehave: _Misbehave = None,
    json: Annotated[bool, typer.Option("--json", help="The nights as JSON on stdout.")] = False,
) -> None:
    """Plays the branches: writes the deliveries of the next nights, good and bad, and the truth about them."""
    if context.invoked_subcommand is not None:
        return
    from kkbc.cli.night import night_progress
    from kkbc.core.settings import get_settings
    from kkbc_play.simulator import DEFAULT, NATIONAL, World, misbehaviour
    from kkbc_play.simulator.world import ways_of_new

    folder = (out_dir or get_settings().home / "world").absolute()
    chosen = {"default": DEFAULT, "national": NATIONAL, None: None}[scale]
    first = first_date.date() if first_date else None
    world = World(folder, seed=seed, scale=chosen, first_date=first, truth=truth, ways=ways or ways_of_new(folder))
    world.begin()
    if misbehave:
        misbehaviour.add(folder, misbehave, world.kinds)
    played = []
    with night_progress() as progress:
        for _ in range(nights):
            played.append(world.play_night(lambda done, total, what: progress("simulate", done, total)))
    if json:
        print_json([{"business_date": n.business_date.isoformat(), "slices": n.slices, "rows": n.rows} for n in played])
        return
    for n in played:
        out.print(f"{n.business_date}: {n.slices} slices, {n.rows} rows under {folder}", soft_wrap=True)
    if set(world.kinds.values()) != {"file"}:
        out.print(f"Let the pipeline in: kkbc simulate serve --world {folder}", soft_wrap=True)


def serve(
    world: Annotated[Path | None, typer.Option(help="Folder of the world; default: <home>/world.")] = None,
    misbehave: _Misbehave = None,
) -> None:
    """Serves the branches of a world, each by its way, until Ctrl-C: SFTP, S3, API and databases on this machine.

    The connections go into <home>/keys/connections.json, the ways into <world>/ways.json.
    """
    from kkbc.core.settings import get_settings
    from kkbc_play.simulator import misbehaviour, servers
    from kkbc_play.simulator.world import branch_kinds

    folder = (world or get_settings().home / "world").absolute()
    kinds = branch_kinds(folder)
    if misbehave:
        misbehaviour.add(folder, misbehave, kinds)
    servers.serve_here(folder, _show)
    say("Stopped.")


def _show(servers: "Servers") -> None:
    from kkbc.core.connections import connections_file

    out.print(f"serving {servers.world}", soft_wrap=True)
    for kind, branches, where in servers.table():
        out.print(f"  {kind:<9} {branches:>3} branches  {where}", soft_wrap=True)
    out.print(f"connections: {connections_file(servers.settings)}", soft_wrap=True)
    out.print(
        f"a night:     kkbc run --source-root {servers.world}/branches --ways {servers.world}/ways.json --as-of DATE",
        soft_wrap=True,
    )
    out.print("Ctrl-C stops all of it.")
