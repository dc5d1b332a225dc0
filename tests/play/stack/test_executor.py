"""The warm executor imports, and does no more, before it forks."""

import subprocess
import sys
from pathlib import Path

import pytest

LOOK = """
import importlib, psutil
from pathlib import Path
from kkbc_play.stack.executor import PRELOADED
for module in PRELOADED:
    importlib.import_module(module)
for thread in psutil.Process().threads():
    print("thread", Path(f"/proc/self/task/{thread.id}/comm").read_text().strip())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are read from /proc")
def test_no_pool_of_threads_is_begun_before_the_fork(tmp_path: Path) -> None:
    looked = subprocess.run(
        [sys.executable, "-c", LOOK],
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    threads = [line.split()[1] for line in looked.stdout.splitlines() if line.startswith("thread ")]
    assert "python" in threads
    assert not [name for name in threads if name.startswith(("polars-0", "tokio", "asyncio", "ThreadPool"))]
