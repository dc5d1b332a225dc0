"""Maintenance: what keeps a warehouse and a home as quick and as small as on the first day, a part at a time.

Every part can be run at any moment, again, and in any order. What may go and what may not is in `policy`.
"""

from kkbc.upkeep.maintenance.parts import PARTS, Done, maintain

__all__ = ["PARTS", "Done", "maintain"]
