"""A seeded play of all branches, night by night, with the truth of every figure. Every person in it is invented."""

from kkbc_play.simulator.scale import DEFAULT, NATIONAL, Scale
from kkbc_play.simulator.world import Night, World

__all__ = ["DEFAULT", "NATIONAL", "Night", "Scale", "World"]
