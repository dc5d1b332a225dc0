import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc_play.simulator import Scale, World

FIRST = date(2023, 12, 11)
BUSY = Scale(registrations=1200, contributions=2000, opening=600, activity_errors=0.25, rejected=0.03)


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world of four nights with enough rows that every code is met every night."""
    world = World(tmp_path_factory.mktemp("busy"), seed=7, scale=BUSY)
    for _ in range(4):
        world.play_night()
    return world


@pytest.fixture(scope="session")
def truth(busy: World) -> dict[str, Any]:
    """The truth of its last night."""
    return truth_of_night(busy.folder, "2023-12-14")


def truth_of_night(folder: Path, day: str) -> dict[str, Any]:
    return json.loads((folder / "truth" / f"{day}.json").read_text(encoding="utf-8"))
