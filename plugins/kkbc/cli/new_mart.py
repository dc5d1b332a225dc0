"""`kkbc new mart`."""

from typing import Annotated

import typer

from kkbc.cli.console import out


def register(new: typer.Typer) -> None:
    """Adds the command of this module to the group."""
    new.command("mart", epilog="Example: kkbc new mart kpi_segment_daily --grain branch_id,segment_code,business_date")(
        mart
    )


def mart(
    name: Annotated[str, typer.Argument(help="Name of the mart, like kpi_segment_daily.")],
    grain: Annotated[
        str,
        typer.Option(
            metavar="COLUMN,...",
            help="The key of a row: columns of the fact, and business_date or month of its events.",
        ),
    ],
    fact: Annotated[str, typer.Option(help="The fact whose events it counts to begin with.")] = "fct_registration",
    label_id: Annotated[str | None, typer.Option(help="Its name in Indonesian; default: made from its name.")] = None,
    owner: Annotated[str, typer.Option(help="Who answers for it.")] = "data-engineering",
) -> None:
    """Writes the folder of a mart: its SQL, its properties with a unit test, what the gate expects of it."""
    from kkbc.core.settings import PROJECT_ROOT
    from kkbc.upkeep.scaffold.mart import add_mart

    columns = [column.strip() for column in grain.split(",") if column.strip()]
    for path in add_mart(name, columns, fact=fact, label_id=label_id, owner=owner):
        out.print(str(path.relative_to(PROJECT_ROOT)), soft_wrap=True)
