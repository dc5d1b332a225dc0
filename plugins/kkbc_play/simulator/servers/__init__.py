"""The servers of the branches that do not deliver plain files: SFTP, S3, API, and databases, on this machine only."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kkbc.core.errors import UserError

FOLDER = "servers"
STATE = "serving.json"
"""How far the servers are: {"nights": n} once what was played in n nights is there to be pulled."""
WAYS = "ways.json"
"""How each branch is reached, as `kkbc run --ways` takes it."""

if TYPE_CHECKING:
    from kkbc_play.simulator.servers.serving import Servers


def serve_here(world: Path, ready: Callable[["Servers"], None]) -> None:
    """Serves the branches of `world` in this process until it is interrupted or asked to end (SIGINT, SIGTERM).

    `ready` is called once all of it answers. Raises UserError when there is no world, another process serves it, or the
    servers' libraries are not installed.
    """
    try:
        from kkbc_play.simulator.servers import serving
    except ImportError as error:
        raise UserError(
            f"the servers of the branches need {error.name}, which is not installed here",
            "they are for development: install requirements-dev.lock, as `make env` does",
        ) from error
    serving.serve_here(world, ready)
