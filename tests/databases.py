"""Databases of tests on the session's server."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from psycopg.conninfo import make_conninfo

from kkbc.core.settings import PROJECT_ROOT
from kkbc.warehouse import schema, server

TEMPLATE = "template_kkbc"
_taken: set[str] = set()


@contextmanager
def database(pg: server.Server, template: str = TEMPLATE) -> Iterator[str]:
    """A copy of a database, migrated and empty unless another is named, for as long as the block; yields its name.

    It is the lowest name that is free: dbt parses its project for each name, so few names cost few parses.
    """
    name = next(name for name in (f"t{number}" for number in count(1)) if name not in _taken)
    _taken.add(name)
    schema.create_database(pg, name, template=template)
    try:
        yield name
    finally:
        schema.drop_database(pg, name)
        _taken.discard(name)


@contextmanager
def as_in_containers(home: Path, configuration: Mapping[str, str]) -> Iterator[tuple[server.Server, str]]:
    """A server that the first start of the compose stack's PostgreSQL has seen, and the login of its warehouse.

    That login owns the database and is no superuser; nothing is migrated yet.
    """
    running = server.start(home, configuration=configuration)
    try:
        subprocess.run(
            ["sh", str(PROJECT_ROOT / "docker" / "postgres" / "init.sh")],
            check=True,
            capture_output=True,
            env={
                "PATH": f"{server.BINARIES}:{os.environ['PATH']}",
                "PGHOST": str(running.socket_dir),
                "PGPORT": str(running.port),
                "POSTGRES_USER": server.SUPERUSER,
                **{f"{name}_DB_PASSWORD": "x" for name in ("KKBC", "KKBC_BI", "AIRFLOW")},
                **{f"KKBC_{name}_PASSWORD": "x" for name in ("BOARD", "BI_GATEWAY")},
            },
        )
        yield running, make_conninfo(running.conninfo("kkbc"), user="kkbc")
    finally:
        server.stop(home)
