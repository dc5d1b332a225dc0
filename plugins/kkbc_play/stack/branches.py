"""The servers of the played branches, as one more process of a home."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.settings import Settings
from kkbc.warehouse import server
from kkbc_play.simulator.servers import FOLDER, STATE, WAYS
from kkbc_play.simulator.ways import FILE
from kkbc_play.simulator.world import branch_kinds
from kkbc_play.stack import processes

NAME = "branches"
READY_SECONDS = 120


def start(settings: Settings, world: Path) -> None:
    """Starts the servers of `world` unless they run, or the world has nothing but files. Does not wait for them."""
    run = settings.home / "run"
    if processes.find(NAME, run) is not None or set(branch_kinds(world).values()) == {FILE}:
        return
    stop(settings)
    (world / FOLDER / STATE).unlink(missing_ok=True)
    run.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("kkbc")), "simulate", "serve", "--world", str(world)]
    environment = {**os.environ, "KKBC_HOME": str(settings.home), "PYTHONUNBUFFERED": "1"}
    processes.start(NAME, command, run, environment)


def ways_after(settings: Settings, world: Path, nights: int) -> Mapping[str, str]:
    """How the branches of `world` are reached, once all that was played in `nights` nights can be pulled.

    Raises UserError when the servers have ended, or do not get there.
    """
    if set(branch_kinds(world).values()) == {FILE}:
        return {}
    run = settings.home / "run"
    deadline = time.monotonic() + READY_SECONDS
    while _served(world) < nights:
        if processes.find(NAME, run) is None:
            last = processes.last_line(NAME, run)
            raise UserError(f"the servers of the branches have ended: {last}", f"read {run}/{NAME}.log")
        if time.monotonic() > deadline:
            raise UserError(
                f"the servers of the branches are not ready after {READY_SECONDS} s", f"read {run}/{NAME}.log"
            )
        time.sleep(0.05)
    return dict(json.loads((world / WAYS).read_text(encoding="utf-8")))


def stop(settings: Settings) -> bool:
    """Stops the servers of the home's own world, and what a killed one left; False when none ran."""
    stopped = processes.stop([NAME], settings.home / "run")
    databases = settings.home / "world" / FOLDER
    if databases.is_dir():
        server.stop(databases)
    return bool(stopped)


def _served(world: Path) -> int:
    try:
        return int(json.loads((world / FOLDER / STATE).read_text(encoding="utf-8"))["nights"])
    except FileNotFoundError:
        return -1
