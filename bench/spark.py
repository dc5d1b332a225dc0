"""The same history built by PostgreSQL and by a Spark cluster: `python bench/spark.py --contributions 100000 1000000`.

The history is that of bench/growth.py: `--days` days before the night, 122 branches, a registration for every five
contributions, straight into raw. PostgreSQL makes all marts, and goes on from there with an ordinary night (12,200
rows); then a cluster of `--workers` workers of one core each does both, with that night in its history. At last what
PostgreSQL makes is held against what Spark made, mart by mart (`--compare`).

Prints wall seconds and CPU seconds of each: of PostgreSQL and the cluster, and of those that tell them what to do and
carry rows (dbt and this program). CPU seconds say more on a machine that other work shares.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil

import growth
from kkbc.core.settings import get_settings

COLUMNS = ("seconds", "CPU seconds, engines", "CPU seconds, dbt and rows")


def main() -> None:
    """Measures each size in an installation of its own, and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contributions", type=int, nargs="+", default=[100_000], help="sizes of history")
    parser.add_argument("--days", type=int, default=730, help="days of history (default 730)")
    parser.add_argument("--workers", type=int, default=2, help="Spark's workers, of one core each (default 2)")
    parser.add_argument("--memory", type=int, default=1024, help="MB of each worker (default 1024)")
    parser.add_argument("--compare", action="store_true", help="rebuild by PostgreSQL aside, and compare every mart")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = []
    for contributions in arguments.contributions:
        with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
            os.environ["KKBC_HOME"] = f"{folder}/home"
            os.environ["GX_ANALYTICS_ENABLED"] = "false"
            get_settings.cache_clear()
            from kkbc_play.stack import down

            try:
                measured.append(measure(Path(folder), contributions, arguments))
            finally:
                down()
    if arguments.json:
        print(json.dumps(measured, indent=2))
        return
    for row in measured:
        print(f"{row.pop('contributions'):,} contributions, load average {row.pop('load average')}:")
        for what, parts in row.items():
            print(f"  {what:<28}", *(f"{name} {parts[name]:,.0f}" for name in parts), sep="  ")


def measure(folder: Path, contributions: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """What each build of one history costs."""
    from kkbc.nights.prepare import prepare
    from kkbc_play.stack import spark

    prepare()
    (folder / "branches").mkdir()
    night = growth.NIGHT
    first = night - timedelta(days=arguments.days)
    growth.open_run(folder, first, first)
    found: dict[str, Any] = {"contributions": growth.write_history(first, contributions)}
    for name, day in (("postgres", night), ("spark", night + timedelta(days=1))):
        with engine(name):
            if name == "spark":
                spark.up(workers=arguments.workers, memory_mb=arguments.memory)
            found[f"{name}, all marts"] = build(folder, day - timedelta(days=1), first)
            say(found)
            growth.write(day, day, growth.ORDINARY)
            found[f"{name}, an ordinary night"] = build(folder, day, first)
            say(found)
    if arguments.compare:
        with engine("spark"):
            found["compared"] = compare()
            say(found)
    found["load average"] = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return found


def compare() -> dict[str, float]:
    """Holds what stands against a rebuild by PostgreSQL; ends the bench when a row differs."""
    from kkbc.marts.verify import verify_against_rebuild

    compared = verify_against_rebuild()
    if differing := [f"{row.mart} {row.month}: {row.differing} rows" for row in compared if not row.equal]:
        sys.exit(f"Spark and PostgreSQL differ: {'; '.join(differing[:10])}")
    return {"marts and months": len(compared), "rows": sum(row.rows for row in compared)}


def build(folder: Path, day: date, first: date) -> dict[str, float]:
    """Builds the models over what was written, and publishes them; what the models alone cost."""
    from kkbc import nights
    from kkbc.slices import analyze_changed
    from kkbc.warehouse import connect

    build_id = nights.open_build(growth.open_run(folder, day, first))
    with connect("loader") as conn:
        analyze_changed(conn)  # as the audit does, which comes before a build
    nights.build_layer(build_id, "seeds")
    began, engine_spent, spent = time.perf_counter(), engine_seconds(), own_seconds()
    nights.build_layer(build_id, "models")
    measured = (time.perf_counter() - began, engine_seconds() - engine_spent, own_seconds() - spent)
    nights.publish(build_id)
    return dict(zip(COLUMNS, measured, strict=True))


def own_seconds() -> float:
    """CPU seconds of this program and of the dbt that it started and that has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def engine_seconds() -> float:
    """CPU seconds of the processes of PostgreSQL and of the cluster, those that ended in them too."""
    from kkbc.warehouse import server
    from kkbc_play.stack import spark

    settings = get_settings()
    postgres = server.find(settings.home)
    assert postgres is not None
    leaders = [psutil.Process(postgres.pid), *spark.running(settings).values()]
    spent = 0.0
    for leader in leaders:
        for part in (leader, *leader.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                # One that ended counts with the one that waited for it.
                times = part.cpu_times()
                spent += times.user + times.system + times.children_user + times.children_system
    return spent


@contextmanager
def engine(name: str) -> Iterator[None]:
    """The engine of the builds in the block."""
    os.environ["KKBC_ENGINE"] = name
    get_settings.cache_clear()
    try:
        yield
    finally:
        del os.environ["KKBC_ENGINE"]
        get_settings.cache_clear()


def say(found: dict[str, Any]) -> None:
    """The newest part on stderr, for a run takes long."""
    name = list(found)[-1]
    print(f"{found['contributions']:,} contributions: {name}: {found[name]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
