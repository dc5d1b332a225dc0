"""The program in Spark's environment that a build starts: what it refuses, and when it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kkbc.marts.spark import building, place
from tests.spark.conftest import Cluster

pytestmark = pytest.mark.spark

PYTHON = place.DBT.with_name("python")
# Starts the program's process as a build does, says its number, and waits.
STARTS_IT = """
import os, subprocess, sys, time
code = "import sys, os, time; sys.path.insert(0, sys.argv[1]); import build; build.end_with(int(sys.argv[2]));"
code += " print(os.getpid(), flush=True); time.sleep(600)"
subprocess.run([sys.argv[1], "-c", code, sys.argv[2], str(os.getpid())])
"""


def test_a_thrift_server_that_writes_elsewhere_is_refused_before_anything_goes(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Two installations with folders of their own and one Thrift server: its tables are of one of them."""
    host, _, port = cluster.up()["KKBC_SPARK_THRIFT"].partition(":")
    request = {"host": host, "port": int(port), "warehouse": str(tmp_path / "other"), "fresh": True}
    request |= {"parent": os.getpid(), "tables": {}, "parse": [], "build": []}
    (tmp_path / "request.json").write_text(json.dumps(request))
    kept = cluster.home / "spark" / "warehouse" / "next.db"
    kept.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [PYTHON, building.PROGRAM, tmp_path / "request.json"],
        env=place.plain_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    writes_to = cluster.home / "spark" / "warehouse"
    assert done.returncode == 3
    assert last == f"RuntimeError: it writes to {writes_to}, and this installation reads {tmp_path}/other"
    assert kept.is_dir()


def test_it_ends_with_the_build_that_started_it() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTS_IT, PYTHON, building.PROGRAM.parent], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert alive == []
