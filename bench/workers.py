"""How a pull grows with the number of worker processes: `make bench-workers`.

The 244 slices of bench/load.py, 260,000 clean rows, are pulled into a new home by 1, 2 and 4 processes that share the
branches, each one visit at a time. Prints seconds, rows a second, the CPU seconds of the workers and of PostgreSQL, and
how many times as fast as the first number it was. What a worker needs to start is not in it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kkbc  # noqa: F401 (before Polars, whose number of threads it sets)

# isort: split
import psutil

from load import DAY, make, server_cpu

RUN_ID = "bench"


def main() -> None:
    """Makes the files once, pulls them with each number of workers in a home of its own, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--share", type=float, default=1.0, help="of the rows (default 1)")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each number; the median is shown")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--share-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.share_of:
        _work(*map(int, arguments.share_of.split("/")))
        return
    if arguments.root:
        print(json.dumps(_measured(arguments.root, arguments.workers[0])))
        return
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        rows = make(Path(folder), arguments.share)
        runs = {
            workers: [_in_a_home(Path(folder) / "many", workers) for _ in range(arguments.repeat)]
            for workers in arguments.workers
        }
    if arguments.json:
        print(json.dumps({"rows": rows, "load": os.getloadavg(), "runs": runs}))
        return
    print(f"{rows:,} rows, {os.cpu_count()} cores, median of {arguments.repeat}, load {os.getloadavg()[0]:.1f}")
    print(f"{'workers':>8}{'seconds':>9}{'rows/s':>10}{'times':>7}{'CPU':>8}{'server':>8}")
    first = 0.0
    for workers, found in runs.items():
        of = {name: statistics.median(run[name] for run in found) for name in found[0]}
        first = first or of["seconds"]
        print(
            f"{workers:>8}{of['seconds']:>9.2f}{rows / of['seconds']:>10,.0f}{first / of['seconds']:>7.2f}"
            f"{of['cpu']:>8.1f}{of['server_cpu']:>8.1f}"
        )


def _in_a_home(root: Path, workers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as home:
        command = [sys.executable, __file__, "--root", str(root), "--workers", str(workers)]
        printed = subprocess.run(command, env=os.environ | {"KKBC_HOME": home}, check=True, stdout=subprocess.PIPE)
        found: dict[str, float] = json.loads(printed.stdout)
        return found


def _measured(root: Path, workers: int) -> dict[str, float]:
    """A pull by so many processes, once all of them are ready."""
    from kkbc import nights
    from kkbc.nights.prepare import prepare
    from kkbc.warehouse import connect
    from kkbc_play.stack import down

    prepare()
    try:
        nights.open_run(nights.RunRequest(DAY, root, first_business_date=DAY), mode="plain", run_id=RUN_ID)
        with connect() as conn:
            server = psutil.Process(conn.info.backend_pid).ppid()
        started = [_start(f"{number}/{workers}") for number in range(workers)]
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        began, served = time.perf_counter(), server_cpu(server)
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        spent = [json.loads(process.communicate()[0]) for process in started]
        seconds, served = time.perf_counter() - began, server_cpu(server) - served
        with connect("auditor") as conn:
            row = conn.execute(
                "select count(*), sum(rows_sent), sum(rows_quarantined) from ops.slice where status = 'loaded'"
            ).fetchone()
        assert row is not None
        if row[1] != sum(one["rows"] for one in spent) or row[2]:
            raise SystemExit(f"not all rows were loaded clean, once: {row}")
        return {"seconds": seconds, "cpu": sum(one["cpu"] for one in spent), "server_cpu": served, "slices": row[0]}
    finally:
        down()


def _start(share: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--share-of", share]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _work(number: int, workers: int) -> None:
    """In a process of its own: every so many-th branch, one after the other."""
    from kkbc import nights
    from kkbc.exchange.contracts import feeds
    from kkbc.exchange.registry import load_registry
    from kkbc.warehouse import connect

    branches = [branch.branch_id for branch in load_registry().branches][number::workers]
    feeds()
    with connect("loader"):
        pass
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.process_time()
    rows = sum(nights.pull_branch(RUN_ID, branch_id)["rows"] for branch_id in branches)
    print(json.dumps({"rows": rows, "cpu": time.process_time() - began}))


if __name__ == "__main__":
    main()
