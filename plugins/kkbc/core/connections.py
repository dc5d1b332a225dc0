"""Connections: where the logins of the branches are kept. Secrets stand in Airflow's connections and nowhere else.

They are asked for in the same way inside an Airflow task and outside. A home without a secrets backend of its own has
a file of connections, `keys`/connections.json (mode 0600), in Airflow's own format, which Airflow's own backend reads:
`{"branch_044": {"conn_type": "sftp", "host": "...", "login": "...", "password": "...", "extra": {"root": "..."}}}`.
"""

import io
import json
import logging
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from kkbc.core.errors import BranchRefused
from kkbc.core.settings import Settings, get_settings

BACKEND = "kkbc.core.airflow_secrets.HomeConnections"
_BACKEND_VARIABLE = "AIRFLOW__SECRETS__BACKEND"
_ARGUMENTS_VARIABLE = "AIRFLOW__SECRETS__BACKEND_KWARGS"
# What this process has set in the environment for Airflow; it is set again when the home is another.
_exported: dict[str, str] = {}
# One thread at a time: what is redirected meanwhile is the whole process's.
_asking = Lock()


@dataclass(frozen=True)
class Connection:
    """One connection. What may be secret is left out of its text form."""

    conn_id: str
    host: str = ""
    port: int | None = None
    login: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    def need(self, *names: str) -> None:
        """Raises BranchRefused when one of the fields `names` is empty; `extra.x` is the key x of `extra`."""
        for name in names:
            key = name.removeprefix("extra.")
            if not (getattr(self, name) if key == name else self.extra.get(key)):
                raise BranchRefused(f"Airflow connection {self.conn_id!r} has no {name}", "complete the connection")


def connections_file(settings: Settings) -> Path:
    """The file of a home that holds its connections; it need not be there."""
    return settings.keys / "connections.json"


def backend_arguments(settings: Settings) -> str:
    """What Airflow's backend for a local file is to be given, as JSON."""
    return json.dumps({"connections_file_path": str(connections_file(settings))})


def get_connection(conn_id: str) -> Connection:
    """The connection `conn_id`, from wherever Airflow keeps it, else from the home's file.

    Raises BranchRefused when it is not there or cannot be understood, or when others may read the home's file.
    """
    kept = _ids_in_file()
    try:
        with _asking, quiet_airflow():
            found = _ask_airflow(conn_id)
            extra = json.loads(found.extra or "{}")
    except Exception as error:  # of many kinds, and some texts repeat the connection
        remedy = f"add it to Airflow's connections or to {connections_file(get_settings())}"
        if conn_id in kept:
            remedy = (
                f"a connection in {connections_file(get_settings())} is not as Airflow wants it, and spoils them all"
            )
        raise BranchRefused(f"Airflow connection {conn_id!r} cannot be read ({type(error).__name__})", remedy) from None
    if not isinstance(extra, dict):
        raise BranchRefused(f"extra of Airflow connection {conn_id!r} is no JSON object", "fix the connection")
    return Connection(
        conn_id,
        found.host or "",
        found.port,
        found.login or "",
        found.password or "",
        found.schema or "",
        extra,
    )


@contextmanager
def quiet_airflow() -> Iterator[None]:
    """Keeps stdout and the logging of a process that is none of Airflow's own as they are, while Airflow is imported.

    There Airflow takes over the logging when it is imported, and prints warnings about its missing configuration.
    """
    root = logging.getLogger()
    before = None if "airflow" in sys.modules else (list(root.handlers), root.level)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        if before is not None:
            root.handlers[:], root.level = before


def _ask_airflow(conn_id: str) -> Any:
    """Airflow's connection, with the home's file as its backend unless it has one of its own."""
    settings = get_settings()
    choose_airflow_home()
    from airflow.sdk import Connection, configuration  # costs seconds to import, and most runs do without

    wanted = {_BACKEND_VARIABLE: BACKEND, _ARGUMENTS_VARIABLE: backend_arguments(settings)}
    exported_by_us = bool(_exported) and _exported.items() <= os.environ.items()
    if wanted != _exported and (exported_by_us or not configuration.conf.get("secrets", "backend", fallback="")):
        os.environ |= wanted
        _exported.update(wanted)
        configuration.clear_secrets_backends_cache()
    return Connection.get(conn_id)


def choose_airflow_home() -> None:
    """Makes the home's Airflow folder the current one outside of Airflow's own processes, before Airflow is imported.

    Without the variable Airflow makes itself a folder in the user's home.
    """
    if "AIRFLOW_HOME" not in os.environ:
        folder = get_settings().home / "airflow"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.environ["AIRFLOW_HOME"] = str(folder)


def _ids_in_file() -> set[str]:
    """The connections of the home's file. Airflow takes a file that it cannot read for an empty one, in silence."""
    path = connections_file(get_settings())
    try:
        mode = path.stat().st_mode
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as error:
        raise BranchRefused(f"{path} cannot be read ({type(error).__name__})", "fix that file") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BranchRefused(f"{path} can be read by others", f"chmod 600 {path}")
    if not isinstance(document, dict):
        raise BranchRefused(f"{path} holds no JSON object", "write it as {connection id: {...}, ...}")
    return set(document)
