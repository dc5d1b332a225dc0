"""Quarantine: what was kept out of the marts, and its ways back. A row is judged anew, resolved, or replaced whole.

`Selection` says which rows. `list_groups`, `show` and `extract` let people see them; `retry` judges them anew and loads
those that pass; `resolve` leaves them be for good. A new revision of a slice closes what is open of the earlier ones,
which is the loader's work.
"""

from kkbc.quarantine.extracting import extract
from kkbc.quarantine.looking import list_groups, show
from kkbc.quarantine.resolving import resolve
from kkbc.quarantine.retrying import RetryReport, retry
from kkbc.quarantine.running import close_retry, open_retry, retry_branch
from kkbc.quarantine.selection import Address, Deed, Selection

__all__ = [
    "Address",
    "Deed",
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
