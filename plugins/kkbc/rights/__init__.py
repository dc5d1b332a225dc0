"""Rights of persons: erasure, and the proof of it. `erase` is the verb, `verify` what shows that it was done."""

from kkbc.rights.erasing import Erased, erase, foresee
from kkbc.rights.persons import Wanted, read_persons
from kkbc.rights.requests import approve_later, refuse, resume
from kkbc.rights.verifying import Verified, verify

__all__ = [
    "Erased",
    "Verified",
    "Wanted",
    "approve_later",
    "erase",
    "foresee",
    "read_persons",
    "refuse",
    "resume",
    "verify",
]
