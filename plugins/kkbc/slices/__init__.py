"""Slices: what becomes of them in the warehouse. Nothing else writes `ops.slice`, raw, vault and `ops.quarantine`.

`load` and `reject` end a visit; `claim` hands slices to a build; `hold` and `release` do what the gate and a person
decide; `reread` and `kkbc.slices.quarantine` judge again what has landed.
"""

from kkbc.slices.holding import Held, hold, holds, release
from kkbc.slices.loading import Outcome, load, reject
from kkbc.slices.locks import branch_locked
from kkbc.slices.mask_stored import mask_stored
from kkbc.slices.note import AuditNote
from kkbc.slices.quarantine import resolve, retry
from kkbc.slices.record import SliceRecord, analyze_changed, claim
from kkbc.slices.rereading import Reread, RereadReport, reread
from kkbc.slices.suppressing import load_suppression

__all__ = [
    "AuditNote",
    "Held",
    "Outcome",
    "Reread",
    "RereadReport",
    "SliceRecord",
    "analyze_changed",
    "branch_locked",
    "claim",
    "hold",
    "holds",
    "load",
    "load_suppression",
    "mask_stored",
    "reject",
    "release",
    "reread",
    "resolve",
    "retry",
]
