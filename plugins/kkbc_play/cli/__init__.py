"""Commands that `kkbc` has where the play is installed."""

import typer

from kkbc_play.cli import dashboards, simulate, spark, stack


def register(app: typer.Typer) -> None:
    """Adds all of them."""
    for module in (simulate, stack, dashboards, spark):
        module.register(app)
