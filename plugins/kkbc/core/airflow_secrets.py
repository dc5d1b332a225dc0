"""The secrets backend of a home: its file of connections, parsed once for as long as it stays the same."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from airflow.secrets.local_filesystem import LocalFilesystemBackend, load_connections_dict


class HomeConnections(LocalFilesystemBackend):  # type: ignore[misc]
    """Airflow's own backend for a local file, which parses the whole file again for every connection asked for.

    A night asks some hundreds of times: by 122 branches, twice a visit.
    """

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        """The connection `conn_id` of the file, None when it holds none of that name."""
        try:
            stat = Path(self.connections_file or "").stat()
        except FileNotFoundError:
            return None
        return _connections(str(self.connections_file), (stat.st_mtime_ns, stat.st_size, stat.st_ino)).get(conn_id)


@lru_cache(maxsize=1)
def _connections(path: str, stamp: tuple[int, int, int]) -> dict[str, Any]:
    found: dict[str, Any] = load_connections_dict(path)
    return found
