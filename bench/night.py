"""Times default nights through Airflow and, over the same deliveries, without it: `make bench-night`.

Prints for each night the wall seconds from trigger to publication and where they went, then ratios against the limit of
120 s and against the plain run. Parts are read from ops.attempt and ops.step. Airflow's overhead is the time in which
no step of the project's own ran: scheduling, starting task processes, handing the asset over.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from kkbc.core.settings import get_settings

LIMIT_SECONDS = 120.0


def use_home(home: Path) -> None:
    """Makes `home` the installation of this process."""
    os.environ["KKBC_HOME"] = str(home)
    get_settings.cache_clear()


def parts_of(run_id: str, total: float) -> dict[str, float]:
    """Where the `total` seconds of a run went."""
    from kkbc.warehouse import connect

    with connect("auditor") as conn:
        attempts: list[tuple[datetime, datetime, float, int]] = conn.execute(
            "select started_at, finished_at, load_seconds, rows from ops.attempt where run_id = %s", [run_id]
        ).fetchall()
        steps: list[tuple[str, datetime, datetime]] = conn.execute(
            "select step, started_at, finished_at from ops.step where run_id = %s", [run_id]
        ).fetchall()
    spans = [(a, b) for a, b, *_ in attempts] + [(a, b) for _, a, b in steps]

    def seconds(prefix: str) -> float:
        return sum((b - a).total_seconds() for step, a, b in steps if step.startswith(prefix))

    visits = sum((b - a).total_seconds() for a, b, *_ in attempts)
    loading = sum(row[2] for row in attempts)
    return {
        "total": total,
        "rows": float(sum(row[3] for row in attempts)),
        "pull phase": (max(row[1] for row in attempts) - min(row[0] for row in attempts)).total_seconds(),
        "  pull and judge, summed over branches": visits - loading,
        "  load, summed over branches": loading,
        "dbt": seconds("build_"),
        "audits": seconds("audit_"),
        "publish": seconds("publish"),
        "no step running": total - covered(spans),
    }


def covered(spans: list[tuple[datetime, datetime]]) -> float:
    """Seconds in which at least one of the spans was under way."""
    seconds, end = 0.0, None
    for a, b in sorted(spans):
        start = a if end is None else max(a, end)
        if b > start:
            seconds += (b - start).total_seconds()
            end = b
    return seconds


def main() -> None:
    """Plays, runs and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=3, help="nights measured, after one that is not (default 3)")
    parser.add_argument("--scale", choices=("default", "national"), default="default")
    parser.add_argument("--plain-only", action="store_true", help="leave Airflow out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    from kkbc.nights import RunRequest, plain
    from kkbc_play.simulator import DEFAULT, NATIONAL, World
    from kkbc_play.stack import down, up
    from kkbc_play.stack.nights import run_in_airflow

    measured: dict[str, list[dict[str, float]]] = {"airflow": [], "plain": []}
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
        root = Path(folder)
        scale = {"default": DEFAULT, "national": NATIONAL}[arguments.scale]
        world = World(root / "world", scale=scale, truth=False)
        modes = ["plain"] if arguments.plain_only else ["airflow", "plain"]
        try:
            for night in range(arguments.nights + 1):
                played = world.play_night()
                for mode in modes:
                    use_home(root / mode)
                    if mode == "airflow" and night == 0:
                        up()
                    request = RunRequest(
                        played.business_date, world.branches_root, first_business_date=world.first_date
                    )
                    began = time.perf_counter()
                    if mode == "airflow":
                        outcome: dict[str, Any] = run_in_airflow(request)
                    else:
                        outcome = plain.run_night(request, lambda *_: None)
                    total = time.perf_counter() - began
                    if night:
                        measured[mode].append(parts_of(outcome["run_id"], total))
                    print(f"night {night} {mode}: {total:.1f} s", file=sys.stderr)
        finally:
            for mode in modes:
                use_home(root / mode)
                down()

    medians = {
        mode: {part: statistics.median(run[part] for run in runs) for part in runs[0]}
        for mode, runs in measured.items()
        if runs
    }
    if arguments.json:
        print(json.dumps({"measured": measured, "medians": medians}, indent=2))
        return
    print(f"\nmedian of {arguments.nights} nights, scale {arguments.scale}, seconds")
    print(f"{'':<42}" + "".join(f"{mode:>10}" for mode in medians))
    for part in next(iter(medians.values())):
        print(f"{part:<42}" + "".join(f"{medians[mode][part]:>10.1f}" for mode in medians))
    for mode, runs in medians.items():
        print(f"{mode}: {runs['total'] / LIMIT_SECONDS:.2f} of the limit of {LIMIT_SECONDS:.0f} s")
    if len(medians) == 2:
        print(f"Airflow / plain: {medians['airflow']['total'] / medians['plain']['total']:.2f}")


if __name__ == "__main__":
    main()
