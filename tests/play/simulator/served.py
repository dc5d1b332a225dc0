"""A world whose branches are served."""

import json
import sys
from pathlib import Path
from typing import Any

from kkbc.core.settings import Settings
from kkbc_play.simulator import Scale, World, misbehaviour
from kkbc_play.stack import branches

SMALL = Scale(registrations=500, contributions=900, opening=1500, absent=0, rejected=0, omitted=0, revised=0)
KKBC = Path(sys.executable).with_name("kkbc")
FOREIGN = {"conn_type": "sftp", "host": "cabang.example"}


class Served:
    """A world of one night that is being served, and how its branches are reached."""

    def __init__(self, settings: Settings, world: World) -> None:
        self.settings = settings
        self.world = world
        self.ways = branches.ways_after(settings, world.folder, world.nights_played)
        self.connections: dict[str, Any] = json.loads((settings.keys / "connections.json").read_text())

    def of(self, kind: str, position: int = 0) -> tuple[str, dict[str, Any]]:
        """A branch that delivers by `kind`, and its connection."""
        found = sorted(branch_id for branch_id, way in self.ways.items() if way.startswith(f"{kind}:"))
        return found[position], self.connections[self.ways[found[position]].partition(":")[2]]

    def files(self, branch_id: str, place: str = "branches") -> dict[str, bytes]:
        """What lies there for the branch: path below its folder, bytes."""
        folder = self.world.folder / place / branch_id
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    def misbehave(self, **how: str) -> None:
        """Tells these branches to misbehave, and all others to behave."""
        lines = "".join(f"{branch_id}: {what}\n" for branch_id, what in how.items())
        fresh = self.world.folder / "misbehave.new"
        fresh.write_text(lines)
        fresh.replace(self.world.folder / misbehaviour.FILE_NAME)
