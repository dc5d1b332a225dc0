"""Backup and restore: warehouse, landing and Airflow's metadata into a folder elsewhere, and back into an empty home.

PostgreSQL's own tools carry the databases, landing goes by the hash of its contents, and keys go elsewhere or nowhere.
"""

from kkbc.upkeep.backup.restoring import Restored, restore, verify
from kkbc.upkeep.backup.store import Manifest, Store
from kkbc.upkeep.backup.taking import Taken, backup, keep_suppression, take_scheduled, target_of

__all__ = [
    "Manifest",
    "Restored",
    "Store",
    "Taken",
    "backup",
    "keep_suppression",
    "restore",
    "take_scheduled",
    "target_of",
    "verify",
]
