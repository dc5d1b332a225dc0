"""`kkbc new branch`."""

from datetime import datetime
from typing import Annotated

import typer

from kkbc.cli.console import out


def register(new: typer.Typer) -> None:
    """Adds the command of this module to the group."""
    new.command(
        "branch",
        epilog="Example: kkbc new branch KC123 --name Cianjur --regencies 3203 --kind sftp --connection branch_123",
    )(branch)


def branch(
    branch_id: Annotated[str, typer.Argument(help="KC and three digits that no branch has yet.")],
    name: Annotated[str, typer.Option(help="Name of the office.")],
    regencies: Annotated[
        str, typer.Option(metavar="CODE,...", help="The regencies that it serves, by Kemendagri code.")
    ],
    kind: Annotated[str, typer.Option(help="How it delivers: file, sftp, s3, http or postgres.")] = "file",
    connection: Annotated[
        str | None, typer.Option(help="Airflow connection with address and secret; every kind but file needs one.")
    ] = None,
    tier: Annotated[int, typer.Option(help="1 metropolitan, 2 city, 3 remote.")] = 2,
    seat: Annotated[
        str | None, typer.Option(metavar="CODE", help="Regency where the office is; default: the first that it serves.")
    ] = None,
    place: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LAT LNG", help="Coordinates of the office; default: those of its seat."),
    ] = None,
    active_from: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First business date that it delivers; default: always."),
    ] = None,
) -> None:
    """Adds a branch office to the registry: one line in config/branches.yml."""
    from kkbc.upkeep.scaffold.branch import add_branch

    added = add_branch(
        branch_id,
        name,
        [code.strip() for code in regencies.split(",") if code.strip()],
        kind=kind,
        connection=connection,
        tier=tier,
        seat=seat,
        place=place,
        active_from=active_from.date() if active_from else None,
    )
    out.print(added.line, soft_wrap=True, markup=False)
    for code, before in added.taken_from.items():
        out.print(f"regency {code}: so far {before}, now {branch_id}", soft_wrap=True)
