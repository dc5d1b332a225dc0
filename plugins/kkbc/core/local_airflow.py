"""Where the Airflow of a home is: address, admin, metadata. The local stack writes it down, others read it."""

import configparser
import json
import os
from dataclasses import dataclass
from pathlib import Path

from kkbc.core.settings import Settings

ADMIN = "admin"


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
    uri = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "")
    if not uri:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(settings.home / "airflow" / "airflow.cfg")
        uri = parser.get("database", "sql_alchemy_conn", fallback="").replace("%%", "%")
    scheme, found, rest = uri.partition("://")
    return f"postgresql://{rest}" if found and scheme.startswith("postgresql") else None
