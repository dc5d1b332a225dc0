"""Detached processes: found by pid and start time, ended with all they started, other processes left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kkbc_play.stack import processes

SLEEP = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"]
# A child in a process group of its own, as Airflow's tasks are, and its pid on the first line.
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time;"
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], process_group=0).pid, flush=True);"
    "time.sleep(600)",
]


def start(name: str, command: list[str], folder: Path) -> psutil.Process:
    processes.start(name, command, folder, os.environ)
    found = processes.find(name, folder)
    assert found is not None
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def first_line(name: str, folder: Path) -> str:
    until(lambda: "\n" in (folder / f"{name}.log").read_text())
    return (folder / f"{name}.log").read_text().split("\n")[0]


def test_a_process_is_found_again_and_ended(tmp_path: Path) -> None:
    process = start("one", SLEEP, tmp_path)
    assert first_line("one", tmp_path) == "up"
    assert processes.last_line("one", tmp_path) == "up"
    assert processes.stop(["one", "never started"], tmp_path) == ["one"]
    assert not process.is_running()
    assert processes.find("one", tmp_path) is None
    assert list(tmp_path.glob("*.pid")) == []
    assert processes.stop(["one"], tmp_path) == []


def test_it_outlives_the_command_that_started_it(tmp_path: Path) -> None:
    script = (
        "import os; from pathlib import Path; from kkbc_play.stack import processes;"
        f"processes.start('one', {SLEEP!r}, Path({str(tmp_path)!r}), os.environ)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert processes.find("one", tmp_path) is not None
    assert processes.stop(["one"], tmp_path) == ["one"]


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    start("one", PARENT, tmp_path)
    child = psutil.Process(int(first_line("one", tmp_path)))
    processes.stop(["one"], tmp_path)
    until(lambda: not child.is_running())


def test_what_a_killed_one_left_behind_ends_too(tmp_path: Path) -> None:
    leader = start("one", PARENT, tmp_path)
    child = psutil.Process(int(first_line("one", tmp_path)))
    leader.kill()
    leader.wait()
    assert processes.find("one", tmp_path) is None
    assert child.is_running()
    assert processes.stop(["one"], tmp_path) == []
    until(lambda: not child.is_running())


def test_one_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.5)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    process = start("one", [sys.executable, "-c", deaf], tmp_path)
    first_line("one", tmp_path)
    processes.stop(["one"], tmp_path)
    assert not process.is_running()


def test_a_recycled_pid_is_never_killed(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        began = psutil.Process(stranger.pid).create_time()
        (tmp_path / "one.pid").write_text(f"{stranger.pid} {began - 3600}\n")
        assert processes.find("one", tmp_path) is None
        assert processes.stop(["one"], tmp_path) == []
        assert stranger.poll() is None
    finally:
        stranger.send_signal(signal.SIGKILL)
        stranger.wait()


def test_the_log_of_the_life_before_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        start("one", SLEEP, tmp_path)
        first_line("one", tmp_path)
        processes.stop(["one"], tmp_path)
    assert (tmp_path / "one.log").read_text() == (tmp_path / "one.log.1").read_text() == "up\n"


@pytest.mark.parametrize("text", ["", "no numbers", "12"])
def test_a_torn_pid_file_is_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.pid").write_text(text)
    assert processes.find("one", tmp_path) is None
    assert processes.stop(["one"], tmp_path) == []
