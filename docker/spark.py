"""Becomes a part of the Spark cluster in its container, or says whether that part is well.

    python spark.py master|worker|thrift
    python spark.py health master|worker|thrift

KKBC_SPARK_SECRET is what the parts know one another by. KKBC_SPARK_WORKER_MEMORY and KKBC_SPARK_THRIFT_MEMORY are the
limits of the containers, from which Java's heaps follow; KKBC_SPARK_WORKER_CORES: how many tasks a worker does at once.
"""

import http.client
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

PARTS = ("master", "worker", "thrift")
MASTER, MASTER_PORT, MASTER_PAGE = "spark-master", 7077, 8080
THRIFT, THRIFT_PORT = "spark-thrift", 10000
SHARED = Path(__file__).resolve().parents[1] / "spark"
TABLES = Path("/var/lib/kkbc/spark")
"""The volume that workers, Thrift server and Airflow's workers see."""
OWN = Path("/tmp/spark")  # noqa: S108
"""What is of one container alone and of no use after it: configuration, scratch, logs of executors."""
BESIDES_MB = 512
"""Of a container's memory: a worker's own process, and what Java takes anyway."""
SMALLEST_MB = 1024
SHORTEST_SECRET = 32


def main(arguments: list[str]) -> None:
    """Exit status 2: the settings do not do; 1: the part is not well."""
    if arguments[:1] == ["health"] and arguments[1:] and arguments[1] in PARTS:
        sys.exit(unwell(arguments[1]))
    if len(arguments) != 1 or arguments[0] not in PARTS:
        complain("name a part of the cluster: " + ", ".join(PARTS))
    part, environment = arguments[0], dict(os.environ)
    text, variables = options(part, environment), environment_of(part, environment)
    shutil.rmtree(OWN, ignore_errors=True)
    # Hive complains of each session for which its own folder is not there.
    for folder in ("conf", "scratch", "scratch/hive-local", "work"):
        (OWN / folder).mkdir(parents=True, mode=0o700)
    # The secret is in it.
    os.umask(0o077)
    (OWN / "conf" / "spark-defaults.conf").write_text(text, encoding="utf-8")
    shutil.copyfile(SHARED / "log4j2.properties", OWN / "conf" / "log4j2.properties")
    os.umask(0o022)
    command = command_of(part, environment)
    os.execve(command[0], command, variables)  # noqa: S606


def options(part: str, environment: Mapping[str, str]) -> str:
    """The configuration of a part: what all clusters are told, and what containers need besides."""
    own = {"spark.authenticate.secret": secret(environment)}
    if part == "master":
        # A master that comes back finds workers and the Thrift server that go on without it.
        own |= {
            "spark.deploy.recoveryMode": "FILESYSTEM",
            "spark.deploy.recoveryDirectory": str(TABLES / "master"),
        }
    if part == "thrift":
        scratch = OWN / "scratch"
        own |= {
            "spark.master": f"spark://{MASTER}:{MASTER_PORT}",
            "spark.driver.host": THRIFT,
            "spark.driver.bindAddress": "0.0.0.0",  # noqa: S104
            # One executor on each worker, with all of its cores.
            "spark.executor.memory": f"{heap_mb('KKBC_SPARK_WORKER_MEMORY', environment)}m",
            "spark.sql.warehouse.dir": str(TABLES / "warehouse"),
            "spark.hadoop.javax.jdo.option.ConnectionURL": (
                f"jdbc:derby:;databaseName={TABLES / 'metastore'};create=true"
            ),
            "spark.hadoop.hive.exec.scratchdir": str(scratch / "hive"),
            "spark.hadoop.hive.exec.local.scratchdir": str(scratch / "hive-local"),
            "spark.hadoop.hive.server2.thrift.bind.host": "0.0.0.0",  # noqa: S104
            "spark.hadoop.hive.server2.thrift.port": str(THRIFT_PORT),
        }
    shared = (SHARED / "spark-defaults.conf").read_text(encoding="utf-8")
    return shared + "".join(f"{name} {value}\n" for name, value in own.items())


def environment_of(part: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a part. Executors inherit those of their worker: no secret of ours is among them."""
    daemon = f"{heap_mb('KKBC_SPARK_THRIFT_MEMORY', environment)}m" if part == "thrift" else "256m"
    mine = {
        "SPARK_CONF_DIR": str(OWN / "conf"),
        "SPARK_DAEMON_MEMORY": daemon,
        "SPARK_LOCAL_DIRS": str(OWN / "scratch"),
        "TZ": "UTC",
    }
    return {name: value for name, value in environment.items() if not name.startswith("KKBC_")} | mine


def command_of(part: str, environment: Mapping[str, str]) -> list[str]:
    """The program that a part is."""
    programs = Path(environment["SPARK_HOME"]) / "bin"
    deploy = [str(programs / "spark-class"), f"org.apache.spark.deploy.{part}.{part.capitalize()}"]
    if part == "master":
        return [*deploy, "--host", MASTER, "--port", str(MASTER_PORT), "--webui-port", str(MASTER_PAGE)]
    if part == "worker":
        memory, cores = heap_mb("KKBC_SPARK_WORKER_MEMORY", environment), environment["KKBC_SPARK_WORKER_CORES"]
        size = ["--cores", cores, "--memory", f"{memory}m", "--work-dir", str(OWN / "work")]
        return [*deploy, *size, f"spark://{MASTER}:{MASTER_PORT}"]
    server = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"
    return [str(programs / "spark-submit"), "--class", server, "spark-internal"]


def secret(environment: Mapping[str, str]) -> str:
    """The secret of the cluster; ends with one line where there is none."""
    found = environment.get("KKBC_SPARK_SECRET", "")
    if not re.fullmatch(rf"[\w-]{{{SHORTEST_SECRET},}}", found):
        complain(
            f"KKBC_SPARK_SECRET must have {SHORTEST_SECRET} letters and digits at least: put it into production.env, "
            "say of `openssl rand -hex 24`"
        )
    return found


def heap_mb(name: str, environment: Mapping[str, str]) -> int:
    """Java's heap in a container with the limit that a variable names; ends with one line where it does not do."""
    limit = re.fullmatch(r"(\d+)([mg])", environment.get(name, "").lower())
    whole = int(limit[1]) * (1024 if limit[2] == "g" else 1) if limit else 0
    if whole < SMALLEST_MB:
        complain(f"{name} must be {SMALLEST_MB}m at least, written like 2048m or 3g")
    return (whole - BESIDES_MB) * 3 // 4


def unwell(part: str) -> str | None:
    """What is wrong with the part in this container, by what the master knows of it; None when it is well."""
    try:
        if part == "thrift":
            socket.create_connection(("127.0.0.1", THRIFT_PORT), timeout=5).close()
        known = master_says()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{part}: {type(error).__name__}: {error}"
    if part == "master":
        return None if known["status"] == "ALIVE" else f"the master is {known['status']}"
    if part == "thrift":
        states = [application["state"] for application in known["activeapps"]]
        return None if {"RUNNING", "WAITING"} & set(states) else f"the master has no session that runs: {states}"
    addresses = {worker["host"] for worker in known["workers"] if worker["state"] == "ALIVE"}
    here = socket.gethostbyname(socket.gethostname())
    return None if here in addresses else f"the master does not know a worker at {here}"


def master_says() -> dict[str, Any]:
    """What the master's page tells."""
    connection = http.client.HTTPConnection(MASTER, MASTER_PAGE, timeout=5)
    try:
        connection.request("GET", "/json/")
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def complain(problem: str) -> NoReturn:
    """Ends with one line."""
    print(f"spark: {problem}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
