"""Reads a history again from landing: `python bench/backfill.py`.

Clean national nights (20,000 registrations and 240,000 contributions each, of 122 branch offices) are loaded once into
a new home. Then the last `--nights` of them are read again as `kkbc backfill` does, each number in a process of its
own. Prints rows a second, the peak of memory, and what a year of 365 such nights would take at the slope of these
sizes. What is built after it is left out: `bench/growth.py` measures that.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

import load
from kkbc.core.settings import get_settings

YEAR = 365


def main() -> None:
    """Loads, reads again by growing numbers of nights, and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--share", type=float, default=1.0, help="of the rows of a national night (default 1)")
    parser.add_argument("--threads", type=int, default=4, help="visits at once while the nights are loaded")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--reread", nargs=2, type=date.fromisoformat, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reread:
        print(json.dumps(_reread(*arguments.reread)))
        return
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["KKBC_HOME"] = str(Path(folder) / "home")
        get_settings.cache_clear()
        from kkbc.nights.prepare import prepare
        from kkbc_play.stack import down

        try:
            prepare()
            loaded = _load(Path(folder), max(arguments.nights), arguments.share, arguments.threads)
            measured = [_in_a_process(nights) for nights in arguments.nights]
        finally:
            down()
    if arguments.json:
        print(json.dumps({"loaded": loaded, "load": os.getloadavg(), "reread": measured}, indent=2))
        return
    print(
        f"loaded {loaded['rows']:,} rows in {loaded['seconds']:.1f} s, {loaded['rows'] / loaded['seconds']:,.0f} rows/s"
    )
    print(f"{'nights read again':<20}{'rows':>12}{'seconds':>10}{'rows/s':>10}{'CPU':>8}{'peak RSS MB':>13}")
    for nights, row in zip(arguments.nights, measured, strict=True):
        speed = f"{row['rows'] / row['seconds']:>10,.0f}{row['cpu']:>8.1f}{row['peak_rss_mb']:>13.0f}"
        print(f"{nights:<20}{row['rows']:>12,}{row['seconds']:>10.1f}{speed}")
    if len(measured) > 1:
        slope, start = np.polyfit([row["rows"] for row in measured], [row["seconds"] for row in measured], 1)
        rows = round(YEAR * (load.REGISTRATIONS + load.CONTRIBUTIONS) * arguments.share)
        print(f"a year of {rows:,} rows, extrapolated: {(start + slope * rows) / 60:.0f} min, {1 / slope:,.0f} rows/s")


def _load(folder: Path, nights: int, share: float, threads: int) -> dict[str, float]:
    """Loads so many nights up to load.DAY, one after the other; returns rows and seconds of the pulls."""
    from kkbc import nights as platform

    last, rows, seconds = load.DAY, 0, 0.0
    try:
        for back in reversed(range(nights)):
            load.DAY = last - timedelta(days=back)
            root = folder / load.DAY.isoformat()
            rows += load.make(root, share)
            request = platform.RunRequest(
                load.DAY, root / "many", first_business_date=last - timedelta(days=nights - 1)
            )
            run = platform.open_run(request, mode="plain", run_id=f"night {load.DAY}")
            began = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda name, run_id=run.run_id: platform.pull_branch(run_id, name), run.branch_ids))
            seconds += time.perf_counter() - began
    finally:
        load.DAY = last
    return {"rows": rows, "seconds": seconds}


def _in_a_process(nights: int) -> dict[str, Any]:
    days = [(load.DAY - timedelta(days=back)).isoformat() for back in (nights - 1, 0)]
    command = [sys.executable, __file__, "--reread", *days]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _reread(since: date, until: date) -> dict[str, Any]:
    """Reads these nights again as `kkbc backfill` does."""
    from kkbc.nights import RunRequest
    from kkbc.nights.backfill import open_backfill, reread_each
    from kkbc.slices import AuditNote

    run_id, rows = f"again from {since}", 0
    began = time.perf_counter()
    branch_ids = open_backfill(RunRequest(reread=(since, until)), mode="plain", run_id=run_id)
    for report in reread_each(branch_ids, since, until, AuditNote("bench", "bench", run_id)):
        summary = report.summary()
        if summary["failed"]:
            raise SystemExit(f"not read again: {summary['failed']}")
        rows += summary["rows"]
    return {
        "rows": rows,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time(),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
