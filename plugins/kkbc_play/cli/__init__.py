"""Commands that `kkbc` has where the play is installed."""

import typer


def register(app: typer.Typer) -> None:
    """Adds all of them."""
    # They stand on kkbc.cli, which is being imported when it asks for its extensions.
    from kkbc_play.cli import simulate, stack

    for module in (simulate, stack):
        module.register(app)
