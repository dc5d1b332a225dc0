"""Processes that outlive the command that started them, known by a pid file each.

A pid file holds the pid and the start time, so that a process which happens to have got the same pid later is never
taken for ours. Each process leads a session of its own: by it, all it ever started is found and ended with it.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from kkbc.core.files import PRIVATE_UMASK

GRACE_SECONDS = 10.0


def start(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Starts `command` detached; its output goes to `folder`/`name`.log, the one before is kept as .log.1.

    What it makes is its owner's alone.
    """
    log = folder / f"{name}.log"
    if log.exists():
        log.replace(folder / f"{name}.log.1")
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
            umask=PRIVATE_UMASK,
        )
    started = psutil.Process(child.pid).create_time()
    _pid_file(name, folder).write_text(f"{child.pid} {started}\n")


def find(name: str, folder: Path) -> psutil.Process | None:
    """The running process `name` of that folder, else None."""
    recorded = _recorded(name, folder)
    if recorded is None:
        return None
    pid, started = recorded
    try:
        process = psutil.Process(pid)
        if process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except psutil.NoSuchProcess:
        pass
    return None


def stop(names: Iterable[str], folder: Path) -> list[str]:
    """Ends the processes `names` and all they started, those of a dead leader too; returns the names that ran.

    They are asked first, all at once, and killed after GRACE_SECONDS.
    """
    leaders = {name: leader for name in names if (leader := find(name, folder)) is not None}
    sessions = {recorded for name in names if (recorded := _recorded(name, folder)) is not None}
    members = _members(sessions)
    _signal(leaders.values(), signal.SIGTERM)
    psutil.wait_procs(leaders.values(), timeout=GRACE_SECONDS)
    # What a leader leaves behind has nobody to report to any more.
    members = [process for process in {*members, *_members(sessions)} if process.is_running()]
    _signal(members, signal.SIGKILL)
    psutil.wait_procs(members, timeout=GRACE_SECONDS)
    for name in names:
        _pid_file(name, folder).unlink(missing_ok=True)
    return list(leaders)


def last_line(name: str, folder: Path) -> str:
    """The last line that `name` wrote to its log."""
    log = folder / f"{name}.log"
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")


def _pid_file(name: str, folder: Path) -> Path:
    return folder / f"{name}.pid"


def _recorded(name: str, folder: Path) -> tuple[int, float] | None:
    try:
        pid, started = _pid_file(name, folder).read_text().split()
        return int(pid), float(started)
    except (FileNotFoundError, ValueError):
        return None


def _members(sessions: Iterable[tuple[int, float]]) -> list[psutil.Process]:
    """The living processes of the sessions that `start` opened.

    The kernel gives a session's number to nobody else while a member lives; after that it may belong to a stranger.
    So a leader must have the time recorded, and those without a leader must run this interpreter.
    """
    started = dict(sessions)
    interpreter = os.path.realpath(sys.executable)
    leader_is_ours: dict[int, bool] = {}
    for pid, at in started.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            leader_is_ours[pid] = psutil.Process(pid).create_time() == at
    found = []
    for process in psutil.process_iter():
        try:
            session = os.getsid(process.pid)
            if session not in started or process.create_time() < started[session]:
                continue
            if leader_is_ours.get(session) or (session not in leader_is_ours and process.exe() == interpreter):
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
