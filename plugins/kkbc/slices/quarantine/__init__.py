"""Quarantine: what was kept out of the marts, and its ways back. A row is judged again, resolved, or replaced whole.

`Selection` says which rows. `list_groups`, `show` and `extract` let people see them; `retry` judges them again and
loads what passes; `resolve` leaves them be for good. A new revision of a slice closes what is open of the earlier ones,
which is the loader's work.
"""

from kkbc.slices.quarantine.extracting import extract
from kkbc.slices.quarantine.listing import list_groups, show
from kkbc.slices.quarantine.resolving import resolve
from kkbc.slices.quarantine.retrying import RetryReport, retry
from kkbc.slices.quarantine.running import close_retry, open_retry, retry_branch
from kkbc.slices.quarantine.selection import Address, Selection

__all__ = [
    "Address",
    "RetryReport",
    "Selection",
    "close_retry",
    "extract",
    "list_groups",
    "open_retry",
    "resolve",
    "retry",
    "retry_branch",
    "show",
]
