"""`kkbc new ...`: writes the files of a new part of the project."""

import typer

from kkbc.cli import new_branch, new_feed, new_mart

new = typer.Typer(help="Write the files of something new: a feed, a mart, a branch.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the group of commands."""
    app.add_typer(new, name="new")
    new_feed.register(new)
    new_branch.register(new)
    new_mart.register(new)
