"""Rights of persons (UU 27/2022): erasure and its proof, what is held of one, who looked, and restriction.

`erase` removes persons and `verify` shows that it was done; the others are modules of their own.
"""

from kkbc.rights.erasing import Erased, erase, foresee
from kkbc.rights.requests import approve_later, refuse, resume
from kkbc.rights.verifying import Verified, verify
from kkbc.rights.wanted import Wanted, read_wanted

__all__ = [
    "Erased",
    "Verified",
    "Wanted",
    "approve_later",
    "erase",
    "foresee",
    "read_wanted",
    "refuse",
    "resume",
    "verify",
]
