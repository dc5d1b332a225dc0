"""Where the Airflow of a home is: address, admin, metadata. The local stack writes it down, others read it."""

import configparser
import json
import os
from dataclasses import dataclass
from pathlib import Path

from kkbc.core.settings import Settings

ADMIN = "admin"
_SQL_ALCHEMY_CONN = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


@dataclass(frozen=True)
class Airflow:
    """What it takes to start this Airflow and to talk to it."""

    port: int
    password: str

    @property
    def url(self) -> str:
        """Address of the user interface and of the API."""
        return f"http://127.0.0.1:{self.port}"


def find(settings: Settings) -> Airflow | None:
    """The Airflow that was configured for this home, running or not."""
    port = remembered_port(settings.home)
    try:
        password = json.loads(passwords_file(settings.home).read_text())[ADMIN]
    except FileNotFoundError:
        return None
    return Airflow(port, password) if port is not None else None


def password_file(settings: Settings) -> Path:
    """Where the admin's password lies, alone in a file of mode 0600."""
    return settings.keys / "airflow-admin.password"


def passwords_file(home: Path) -> Path:
    """The file that Airflow itself reads the admin's password from."""
    return home / "airflow" / "passwords.json"


def remembered_port(home: Path) -> int | None:
    """The port of the last start, None before the first."""
    try:
        return int((home / "run" / "airflow.port").read_text())
    except (FileNotFoundError, ValueError):
        return None


def metadata_uri(settings: Settings) -> str | None:
    """The libpq URI of this home's Airflow metadata, or of the one that the environment names; None without either."""
    scheme, found, rest = _sql_alchemy_conn(settings).partition("://")
    return f"postgresql://{rest}" if found and scheme.startswith("postgresql") else None


def metadata(settings: Settings) -> dict[str, str] | None:
    """The variables by which Airflow's own commands reach that database; None without one."""
    if metadata_uri(settings) is None:
        return None
    return {_SQL_ALCHEMY_CONN: _sql_alchemy_conn(settings), "AIRFLOW_HOME": str(settings.home / "airflow")}


def _sql_alchemy_conn(settings: Settings) -> str:
    uri = os.environ.get(_SQL_ALCHEMY_CONN, "")
    # What Airflow gives its tasks stands for no database at all.
    if uri and not uri.startswith("airflow-db-not-allowed"):
        return uri
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(settings.home / "airflow" / "airflow.cfg")
    return parser.get("database", "sql_alchemy_conn", fallback="").replace("%%", "%")
