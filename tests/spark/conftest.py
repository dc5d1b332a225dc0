"""One real Spark cluster for all tests: a master, two workers and a Thrift server, in a home of its own."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kkbc.core.settings import get_settings
from kkbc.marts.spark import place
from kkbc_play.stack import processes, spark
from tests.dbt_project.conftest import current

SMALL_DISK = "size=64m"


class Cluster:
    """The cluster, for tests that end parts of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.small_disks: list[Path] = []

    def up(self) -> dict[str, str]:
        """Starts what is not running; returns the settings of a home that builds on it."""
        with current({"KKBC_HOME": str(self.home)}):
            running = spark.up(small=True)
            folder = place.folder(get_settings())
        address = {"KKBC_SPARK_THRIFT": f"127.0.0.1:{running.thrift}", "KKBC_SPARK_FOLDER": str(folder)}
        return {"KKBC_ENGINE": "spark", **address}

    def down(self) -> None:
        """Stops all of it."""
        with current({"KKBC_HOME": str(self.home)}):
            spark.down(get_settings())
        for disk in self.small_disks:
            subprocess.run(["umount", "--lazy", disk], check=False, capture_output=True)

    def give_small_disks(self) -> None:
        """Puts what each worker writes besides tables on a small disk of its own, where this may be done (root)."""
        for name in spark.worker_names():
            disk = self.home / "spark" / "scratch" / name
            disk.mkdir(parents=True)
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs", disk], check=False, capture_output=True
            )
            if mounted.returncode == 0:
                self.small_disks.append(disk)

    def alive(self, name: str) -> bool:
        """Whether a process of it runs."""
        return processes.find(name, self.home / "run") is not None

    def kill(self, name: str) -> None:
        """Ends a process of it and all that it started, at once."""
        leader = processes.find(name, self.home / "run")
        assert leader is not None, name
        found = [leader, *leader.children(recursive=True)]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(found, timeout=10)

    @contextlib.contextmanager
    def killed_during_the_build(self, name: str) -> Iterator[None]:
        """Ends a process of it when dbt has begun with the models of the build in the block."""
        log = get_settings().home / "dbt" / "logs" / "spark" / "dbt.log"
        at = log.stat().st_size
        over = threading.Event()
        killed: list[str] = []

        def watch() -> None:
            while log.read_bytes()[at:].count(b"START sql") < 5:
                if over.is_set():
                    return
                time.sleep(0.05)
            self.kill(name)
            killed.append(name)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join(timeout=20)
        assert killed, f"the build was over before {name} could be ended"


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leaves no byte free on a disk for the length of the block."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(os.urandom(4096))
    try:
        assert os.statvfs(disk).f_bavail == 0
        yield
    finally:
        filler.unlink()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of the session."""
    made = Cluster(tmp_path_factory.mktemp("spark"))
    made.give_small_disks()
    try:
        made.up()
        yield made
    finally:
        made.down()
