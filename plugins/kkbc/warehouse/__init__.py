"""The warehouse: the embedded server, connections by role, schema migrations, locks, access."""

from kkbc.warehouse.connection import connect, conninfo
from kkbc.warehouse.schema import migrate

__all__ = ["connect", "conninfo", "migrate"]
