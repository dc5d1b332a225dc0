"""Quarantine: what was kept out of the marts, and its ways back. A row is judged anew, resolved, or replaced whole.

`Selection` says which rows; `retry` judges them anew and loads those that pass; `resolve` leaves them be for good. A
new revision of a slice closes what is open of the earlier ones, which is the loader's work.
"""

from kkbc.quarantine.resolving import resolve
from kkbc.quarantine.retrying import RetryReport, retry
from kkbc.quarantine.selection import Address, Deed, Selection

__all__ = ["Address", "Deed", "RetryReport", "Selection", "resolve", "retry"]
