"""What Airflow adds to a pull, by the number of groups that the branches are put into: `python bench/groups.py`.

A default night is pulled in one home, and then again with nothing new to pull, in one process, and through Airflow with
each number of groups. Prints the wall seconds from the start of the first visit to the end of the last, those of
the whole run of pull_branches, and the CPU seconds of all of Airflow's processes and tasks and of PostgreSQL meanwhile.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from kkbc.core.settings import get_settings
from kkbc.nights.request import RunRequest


def main() -> None:
    """Measures each number of groups, and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, nargs="+", default=[4, 8, 16, 32, 122])
    parser.add_argument(
        "--repeat", type=int, default=3, help="pulls of each, after one that is not counted (default 3)"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["KKBC_HOME"] = str(Path(folder) / "home")
        get_settings.cache_clear()
        measured = _measure(Path(folder), arguments.groups, arguments.repeat)
    if arguments.json:
        print(json.dumps({"load": os.getloadavg(), "measured": measured}))
        return
    print(f"nothing new to pull, median of {arguments.repeat}, load {os.getloadavg()[0]:.1f}")
    print(f"{'groups':<16}{'visits':>10}{'run':>10}{'CPU':>10}{'PostgreSQL':>12}")
    for name, runs in measured.items():
        of = [statistics.median(run[place] for run in runs) for place in range(4)]
        print(f"{name:<16}{of[0]:>8.1f} s{of[1]:>8.1f} s{of[2]:>8.1f} s{of[3]:>10.1f} s")


def _measure(folder: Path, numbers: list[int], repeat: int) -> dict[str, list[list[float]]]:
    from kkbc.nights.prepare import prepare
    from kkbc_play.simulator import DEFAULT, World
    from kkbc_play.stack import down, up
    from kkbc_play.stack.api import Api

    world = World(folder / "world", scale=DEFAULT, truth=False)
    day = world.play_night().business_date
    request = RunRequest(day, world.branches_root, first_business_date=world.first_date)
    measured: dict[str, list[list[float]]] = {}
    try:
        prepare()
        _in_process(request, "first")
        measured["one process"] = [_in_process(request, f"plain {count}") for count in range(repeat)]
        for number in numbers:
            os.environ["KKBC_PULL_GROUPS"] = str(number)
            get_settings.cache_clear()
            api = Api(up())
            # What was pulled is for no build: that would be at work beside the next pull.
            api._call("PATCH", "dags/build_marts", json={"is_paused": True})
            measured[f"{number}"] = [_in_airflow(api, request) for _ in range(repeat + 1)][1:]
            down()
    finally:
        down()
    return measured


def _in_process(request: RunRequest, run_id: str) -> list[float]:
    from kkbc import nights
    from kkbc.nights.plain import PULL_THREADS

    before, began, own = _cpu(), time.perf_counter(), time.process_time()
    run = nights.open_run(request, mode="plain", run_id=run_id)
    with ThreadPoolExecutor(PULL_THREADS) as pool:
        list(pool.map(lambda branch_id: nights.pull_branch(run_id, branch_id), run.branch_ids))
    nights.close_pull(run_id)
    seconds, server = time.perf_counter() - began, _cpu()[1] - before[1]
    return [_visits(run_id), seconds, time.process_time() - own, server]


def _in_airflow(api: Any, request: RunRequest) -> list[float]:
    before, began = _cpu(), time.perf_counter()
    run_id = api.post("dags/pull_branches/dagRuns", {"logical_date": None, "conf": request.as_params()})["dag_run_id"]
    while (state := api.get(f"dags/pull_branches/dagRuns/{run_id}")["state"]) not in ("success", "failed"):
        time.sleep(0.5)
    if state == "failed":
        raise SystemExit(f"run {run_id} failed")
    return [_visits(run_id), time.perf_counter() - began, *(b - a for a, b in zip(before, _cpu(), strict=True))]


def _visits(run_id: str) -> float:
    """Seconds from the start of the first visit of a run to the end of its last."""
    from kkbc.warehouse import connect

    with connect("auditor") as conn:
        row = conn.execute(
            "select extract(epoch from max(finished_at) - min(started_at))::float from ops.attempt where run_id = %s",
            [run_id],
        ).fetchone()
    assert row is not None
    return float(row[0])


def _cpu() -> tuple[float, float]:
    """CPU seconds so far of Airflow's processes with their tasks, and of PostgreSQL; those that ended included."""
    home = get_settings().home
    spent = {"airflow": 0.0, "postgres": 0.0}
    for file in (home / "run").glob("*.pid"):
        spent["airflow"] += _tree(int(file.read_text().split()[0]))
    spent["postgres"] = _tree(int((home / "pg" / "postmaster.pid").read_text().split()[0]))
    return spent["airflow"], spent["postgres"]


def _tree(pid: int) -> float:
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    times = []
    for process in members:
        with suppress(psutil.NoSuchProcess):  # which its parent counts by now
            times.append(process.cpu_times())
    return float(sum(t.user + t.system + t.children_user + t.children_system for t in times))


if __name__ == "__main__":
    main()
