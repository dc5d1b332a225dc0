"""Keys: which there are, how the key of the tokens is changed, and how the old one goes.

`rotate` gives every token that is stored a new one, under the next key, without visiting a branch; `standing` tells
which keys there are and how many tokens each made, `destroy_old` removes those of which no token is left.
"""

from kkbc.upkeep.keys.rotation import Foreseen, Rotation, foresee, rotate
from kkbc.upkeep.keys.standing import Standing, destroy_old, standing

__all__ = ["Foreseen", "Rotation", "Standing", "destroy_old", "foresee", "rotate", "standing"]
