"""Times the models layer of default nights as the history grows: `python bench/incremental.py`.

Plays and pulls night after night, and builds each by what arrived. On every `--every`th night the same marts are then
rebuilt, so that both times come from one machine in one mood. Prints for each: the rows that the night loaded and
that lie in raw, the participants touched, the seconds of both builds, and the share of the first that is dbt getting
ready: what an invocation takes that selects nothing.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kkbc.core.settings import get_settings


def main() -> None:
    """Plays, builds and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=21, help="nights played (default 21)")
    parser.add_argument("--every", type=int, default=5, help="nights between measurements (default 5)")
    parser.add_argument("--scale", choices=("default", "national"), default="default")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
        os.environ["KKBC_HOME"] = str(Path(folder) / "home")
        get_settings.cache_clear()
        from kkbc_play.stack import down

        try:
            measured = play(Path(folder), arguments.scale, arguments.nights, arguments.every)
        finally:
            down()
    if arguments.json:
        print(json.dumps(measured, indent=2))
        return
    names = list(measured[0])
    print(" ".join(f"{name:>20}" for name in names))
    for row in measured:
        print(" ".join(f"{row[name]:>20}" for name in names))


def play(folder: Path, scale: str, count: int, every: int) -> list[dict[str, Any]]:
    """Plays all nights; one row a measured night, the first build, which makes everything, left out."""
    from kkbc import nights
    from kkbc.marts import runner, state
    from kkbc.nights import RunRequest, plain
    from kkbc.nights.prepare import prepare
    from kkbc.warehouse import connect
    from kkbc_play.simulator import DEFAULT, NATIONAL, World

    prepare()
    world = World(folder / "world", scale={"default": DEFAULT, "national": NATIONAL}[scale], truth=False)
    measured = []
    for number in range(1, count + 1):
        played = world.play_night()
        request = RunRequest(played.business_date, world.branches_root, first_business_date=world.first_date)
        run = nights.open_run(request, mode="plain", run_id=f"night {number}")
        plain._pull_all(run, lambda *_: None)
        rows = nights.close_pull(run.run_id)["rows"]
        build_id = nights.open_build(run.run_id)
        nights.build_layer(build_id, "seeds")
        incremental = timed(nights.build_layer, build_id, "models")
        with connect() as conn:
            conn.execute("update ops.build set outcome = 'published' where build_id = %s", [build_id])
        print(f"night {number}: {rows} rows, models in {incremental:.1f} s", file=sys.stderr)
        if number == 1 or (number % every and number != count):
            continue
        with connect("transformer", autocommit=True) as conn:
            counts = conn.execute(
                "select (select count(*) from raw.registrations) + (select count(*) from raw.contributions),"
                " (select count(*) from next.int_participants_touched), (select count(*) from next.dim_participant)"
            ).fetchone()
            assert counts is not None
            ready = timed(runner.invoke, conn, "none", runner.days(run.as_of, world.first_date))
            state.begin(conn)
        full = timed(nights.build_layer, build_id, "models")
        measured.append(
            {
                "night": number,
                "rows loaded": rows,
                "rows in raw": counts[0],
                "touched": counts[1],
                "participants": counts[2],
                "by what arrived, s": round(incremental, 1),
                "dbt getting ready, s": round(ready, 1),
                "rebuilt, s": round(full, 1),
                "ratio": round(incremental / full, 2),
            }
        )
    return measured


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    """Wall seconds of `work`."""
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
