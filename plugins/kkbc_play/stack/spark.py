"""A Spark cluster beside a home: a master, workers and a Thrift server, each a process of its own, on this machine.

They are of the environment `.venv-spark`, and listen on 127.0.0.1 alone. The Thrift server asks for no password: who
may log in on this machine can reach it. What they keep is under `home`/spark.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from kkbc.core.errors import UserError
from kkbc.core.files import write_private
from kkbc.core.home import make_home
from kkbc.core.settings import PROJECT_ROOT, Settings, get_settings
from kkbc.marts.spark import place
from kkbc.warehouse.server import free_port
from kkbc_play.stack import processes

MASTER, THRIFT = "spark-master", "spark-thrift"
WORKERS = 2
READY_SECONDS = 300
DEFAULTS, LOGGING = (PROJECT_ROOT / "spark" / name for name in ("spark-defaults.conf", "log4j2.properties"))
"""What it has in common with the cluster of the containers."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cluster:
    """Where the cluster of a home listens."""

    master: int
    thrift: int
    pages: int

    @property
    def url(self) -> str:
        """The page that shows what runs on it."""
        return f"http://127.0.0.1:{self.pages}"


def worker_names(count: int = WORKERS) -> list[str]:
    """The names of its workers, as of their logs and pid files."""
    return [f"spark-worker-{number}" for number in range(1, count + 1)]


def up(say: Say = lambda _: None, *, workers: int = WORKERS, memory_mb: int = 1024, small: bool = False) -> Cluster:
    """Starts what is not running of the current home's cluster, and waits until its Thrift server answers. Idempotent.

    `memory_mb` is what each worker gives to Spark. `small`: rows are few, and statements many, so that little is spent
    on making them fast. Raises UserError when its environment or Java is missing, or when it does not start.
    """
    settings = get_settings()
    _check()
    make_home(settings.home)
    run = settings.home / "run"
    run.mkdir(exist_ok=True)
    with FileLock(settings.home / ".spark.lock"):
        found = find(settings)
        if found is None:
            down(settings)
            cluster = Cluster(free_port(), free_port(), free_port())
            _prepare(settings, cluster, memory_mb, _SMALL if small else {})
            say("spark: starting a master, workers and a Thrift server")
            _start(MASTER, run, _environment(settings), _master(cluster))
            # A Thrift server that asks too early waits long before it asks again.
            _wait(settings, cluster.master, MASTER)
        else:
            cluster = found
        for name in worker_names(workers):
            if processes.find(name, run) is None:
                processes.stop([name], run)  # the rest of one that was killed
                scratch = {"SPARK_LOCAL_DIRS": str(place.folder(settings) / "scratch" / name)}
                work = place.folder(settings) / "work" / name
                _start(name, run, _environment(settings) | scratch, _worker(cluster, work, memory_mb))
        if found is None:
            java = {"SPARK_DAEMON_MEMORY": f"{memory_mb}m"} | ({"SPARK_DAEMON_JAVA_OPTS": _QUICK} if small else {})
            _start(THRIFT, run, _environment(settings) | java, _thrift())
            write_private(run / "spark.json", json.dumps(vars(cluster)))
        _wait(settings, cluster.thrift, THRIFT)
    return cluster


def down(settings: Settings) -> list[str]:
    """Stops the cluster of a home; returns the names of what ran. What was built stays."""
    run = settings.home / "run"
    names = sorted({path.stem for path in run.glob("spark-*.pid")} if run.is_dir() else set())
    # The Thrift server first: its executors end with it, and none is started anew.
    return processes.stop([name for name in names if name == THRIFT], run) + processes.stop(
        [name for name in names if name != THRIFT], run
    )


def find(settings: Settings) -> Cluster | None:
    """The running cluster of a home; None when its master or its Thrift server is gone."""
    run = settings.home / "run"
    if not (run / "spark.json").exists() or any(processes.find(name, run) is None for name in (MASTER, THRIFT)):
        return None
    return Cluster(**json.loads((run / "spark.json").read_text()))


def _check() -> None:
    if not place.SPARK_HOME.is_dir():
        raise UserError(f"Spark's environment {place.ENVIRONMENT} is not there", "`make spark-up` builds it")
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise UserError("Java is missing: Spark needs Java 17", "run 'apt-get install openjdk-17-jre-headless'")


def running(settings: Settings) -> dict[str, psutil.Process]:
    """The processes of a home's cluster that run, by name."""
    run = settings.home / "run"
    names = sorted(path.stem for path in run.glob("spark-*.pid"))
    return {name: process for name in names if (process := processes.find(name, run)) is not None}


def _prepare(settings: Settings, cluster: Cluster, memory_mb: int, more: Mapping[str, str]) -> None:
    """Writes the configuration."""
    folder = place.folder(settings)
    # Hive complains of each session for which its own folder is not there.
    for part in ("conf", "scratch", "scratch/hive-local", "work"):
        (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {
        "spark.master": f"spark://127.0.0.1:{cluster.master}",
        "spark.authenticate.secret": secrets.token_urlsafe(32),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.cores": "1",
        "spark.executor.memory": f"{memory_mb - 384}m",
        "spark.executor.memoryOverhead": "384m",
        "spark.local.dir": str(folder / "scratch"),
        "spark.sql.warehouse.dir": str(place.warehouse(settings)),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder / 'metastore'};create=true",
        "spark.hadoop.hive.exec.scratchdir": str(folder / "scratch" / "hive"),
        "spark.hadoop.hive.exec.local.scratchdir": str(folder / "scratch" / "hive-local"),
        "spark.hadoop.hive.server2.thrift.bind.host": "127.0.0.1",
        "spark.hadoop.hive.server2.thrift.port": str(cluster.thrift),
        **more,
    }
    lines = "".join(f"{name} {value}\n" for name, value in options.items())
    write_private(folder / "conf" / DEFAULTS.name, DEFAULTS.read_text(encoding="utf-8") + lines)
    write_private(folder / "conf" / LOGGING.name, LOGGING.read_text(encoding="utf-8"))


# Compiling statements and bytecode takes longer than a few thousand rows do.
_QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_SMALL = {
    "spark.executor.extraJavaOptions": _QUICK,
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
}


def _environment(settings: Settings) -> dict[str, str]:
    folder = place.folder(settings)
    return {
        **place.plain_environment(),
        "SPARK_HOME": str(place.SPARK_HOME),
        "SPARK_CONF_DIR": str(folder / "conf"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_LOCAL_DIRS": str(folder / "scratch"),
        "TZ": "UTC",
    }


def _start(name: str, run: Path, environment: dict[str, str], command: list[str]) -> None:
    processes.start(name, [str(place.SPARK_HOME / "bin" / command[0]), *command[1:]], run, environment)


def _master(cluster: Cluster) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(cluster.master), "--webui-port", str(cluster.pages)]
    return ["spark-class", "org.apache.spark.deploy.master.Master", *where]


def _worker(cluster: Cluster, folder: Path, memory_mb: int) -> list[str]:
    size = ["--host", "127.0.0.1", "--cores", "1", "--memory", f"{memory_mb}m", "--webui-port", "0"]
    place_ = ["--work-dir", str(folder), f"spark://127.0.0.1:{cluster.master}"]
    return ["spark-class", "org.apache.spark.deploy.worker.Worker", *size, *place_]


def _thrift() -> list[str]:
    return ["spark-submit", "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "spark-internal"]


def _wait(settings: Settings, port: int, name: str) -> None:
    """Waits until the process `name` answers. Raises UserError, naming the logs, when it ends or takes too long."""
    run = settings.home / "run"
    until = time.monotonic() + READY_SECONDS
    while not place.answers("127.0.0.1", port):
        ended = processes.find(name, run) is None
        if ended or time.monotonic() > until:
            what = f"{name} ended" if ended else f"{name} did not answer within {READY_SECONDS} s"
            last = processes.last_line(name, run)
            down(settings)
            raise UserError(f"the Spark cluster did not start: {what}: {last}", f"see {run}/spark-*.log")
        time.sleep(0.3)
