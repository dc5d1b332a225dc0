"""Where Spark and what it keeps is: its environment, its Thrift server, and the folder of its tables."""

import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT, Settings

ENVIRONMENT = Path(os.environ.get("KKBC_SPARK_ENVIRONMENT", PROJECT_ROOT / ".venv-spark"))
SPARK_HOME = next(iter(ENVIRONMENT.glob("lib/python3*/site-packages/pyspark")), ENVIRONMENT / "pyspark")
DBT = ENVIRONMENT / "bin" / "dbt"
REACH_SECONDS = 5.0
AGAIN = "see to the cluster (`make spark-up`), then run the night again: nothing was published"


@dataclass(frozen=True)
class Thrift:
    """The address of a Thrift server."""

    host: str
    port: int


def folder(settings: Settings) -> Path:
    """What Spark keeps of this home. Its workers must see it under the same path."""
    return Path(settings.spark_folder).expanduser().absolute() if settings.spark_folder else settings.home / "spark"


def warehouse(settings: Settings) -> Path:
    """Where its tables lie, a folder for each schema."""
    return folder(settings) / "warehouse"


def forget(settings: Settings) -> None:
    """Removes what Spark keeps of rows, because they are others now; the next build by it makes all anew."""
    kept = folder(settings)
    if kept.is_dir():
        (kept / "built.json").unlink(missing_ok=True)
        for part in (kept / "sources", warehouse(settings)):
            shutil.rmtree(part, ignore_errors=True)


def thrift(settings: Settings) -> Thrift:
    """The Thrift server that builds: that of the settings, else the one that runs beside this home.

    Raises UserError, a line that says what to do, when there is none, or it does not answer.
    """
    noted = settings.home / "run" / "spark.json"
    if settings.spark_thrift:
        host, _, port = settings.spark_thrift.rpartition(":")
        found = Thrift(host, int(port))
    elif noted.exists():
        found = Thrift("127.0.0.1", json.loads(noted.read_text())["thrift"])
    else:
        raise UserError("no Spark cluster runs beside this home", "`make spark-up` starts one")
    if not answers(found.host, found.port):
        raise UserError(
            f"Spark's Thrift server {found.host}:{found.port} does not answer",
            AGAIN,
        )
    return found


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=REACH_SECONDS):
            return True
    except OSError:
        return False


def plain_environment() -> dict[str, str]:
    """The variables that programs of Spark's environment get of ours: none that names a database or a key."""
    return {name: os.environ[name] for name in ("PATH", "JAVA_HOME", "HOME", "LANG", "TMPDIR") if name in os.environ}
