"""Times one ordinary night on histories of several sizes: `python bench/growth.py --contributions 0 740000 3000000`.

A history is written straight into raw: `--days` days before the night, 122 branches, a registration for every five
contributions. It is built and published whole. Then an ordinary night (82 contributions and 16 registrations of each
branch) is audited, built, audited and published, and after it one late slice of 82 rows. Prints the seconds of each
part on each history, and the ratio to the first one; `--plot growth.svg` draws them.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from gate import ROWS
from kkbc.core.settings import get_settings

NIGHT = date(2024, 1, 1)
BRANCHES = 122
ORDINARY = {"pendaftaran": 16, "iuran": 82, "kegiatan": 1}
STEPS = ("audit of slices", "models", "audit of marts", "publication")


def main() -> None:
    """Measures each size in an installation of its own, and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--contributions", type=int, nargs="+", default=[0, 740_000, 3_000_000], help="sizes of history"
    )
    parser.add_argument("--days", type=int, default=730, help="days of history (default 730)")
    parser.add_argument("--home", type=Path, help="keep the installations there, one a size")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, help="draw the curves there, as the ending says (.svg, .png)")
    parser.add_argument("--from-json", type=Path, nargs="+", help="measure nothing; read what --json printed before")
    arguments = parser.parse_args()
    if arguments.from_json:
        measured = [row for path in arguments.from_json for row in json.loads(path.read_text(encoding="utf-8"))]
    else:
        measured = measure_all(arguments.contributions, arguments.days, arguments.home)
    measured.sort(key=lambda row: row["contributions"])
    if arguments.plot:
        draw(measured, arguments.plot)
    report(measured, as_json=arguments.json)


def measure_all(sizes: list[int], days: int, home: Path | None) -> list[dict[str, Any]]:
    """Measures each size in an installation of its own."""
    measured = []
    for contributions in sizes:
        with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
            os.environ["KKBC_HOME"] = str((home or Path(folder)) / f"home-{contributions}")
            os.environ["GX_ANALYTICS_ENABLED"] = "false"
            get_settings.cache_clear()
            from kkbc_play.stack import down

            try:
                measured.append(measure(Path(folder), contributions, days))
            finally:
                down()
    return measured


def report(measured: list[dict[str, Any]], *, as_json: bool) -> None:
    """Prints what was measured, a column a size."""
    if as_json:
        print(json.dumps(measured, indent=2))
        return
    print(" ".join([f"{'':<34}", *(f"{row['contributions']:>12,}" for row in measured)]))
    for name in measured[0]:
        if name != "contributions":
            print(" ".join([f"{name:<34}", *(f"{row[name]:>12,.2f}" for row in measured)]))
    first = measured[0]["ordinary night"]
    print(
        " ".join(
            [
                f"{'ordinary night, ratio to the first':<34}",
                *(f"{row['ordinary night'] / first:>12,.2f}" for row in measured),
            ]
        )
    )


def draw(measured: list[dict[str, Any]], path: Path) -> None:
    """The seconds of a night and of a late slice, and of their parts, over the size of the history."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "kkbc"  # the same picture from the same figures
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xlabel="contributions in the history, million", ylabel="seconds", title="A night of 12,200 rows on its history"
    )
    sizes = [row["contributions"] / 1e6 for row in measured]
    axes.plot(sizes, [row["ordinary night"] for row in measured], marker="o", linewidth=2.5, label="ordinary night")
    for step in STEPS:
        axes.plot(sizes, [row[f"ordinary night: {step}"] for row in measured], marker=".", label=f"– {step}")
    axes.plot(sizes, [row["late slice"] for row in measured], marker="o", linestyle="--", label="a late slice")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def measure(folder: Path, contributions: int, days: int) -> dict[str, Any]:
    """The seconds of each part on one history."""
    import great_expectations  # noqa: F401 (what it costs to import is no cost of a night)

    from kkbc.nights.prepare import prepare
    from kkbc.warehouse import connect

    prepare()
    (folder / "branches").mkdir()
    first = NIGHT - timedelta(days=days if contributions else 1)
    measured: dict[str, Any] = {"contributions": contributions}
    # The branches that `write` writes for are there once a run was opened.
    open_run(folder, first, first)
    if contributions:
        measured["rows to raw"] = timed(write_history, first, contributions)
    else:
        write(first, first, ORDINARY)
    history = run(folder, NIGHT - timedelta(days=1), first)
    measured["full build"] = sum(history.values())
    measured |= {f"full build: {step}": seconds for step, seconds in history.items()}
    write(NIGHT, NIGHT, ORDINARY)
    night = run(folder, NIGHT, first)
    measured["ordinary night"] = sum(night.values())
    measured |= {f"ordinary night: {step}": seconds for step, seconds in night.items()}
    # A branch whose slice of ten days ago comes only now.
    with connect() as conn:
        conn.execute(
            "update ops.slice set build_id = null where feed = 'iuran' and branch_id = 'KC044' and business_date = %s",
            [NIGHT],
        )
    late = run(folder, NIGHT, first)
    measured["late slice"] = sum(late.values())
    measured |= {f"late slice: {step}": seconds for step, seconds in late.items()}
    with connect() as conn:
        row = conn.execute(
            "select pg_database_size(current_database())::float / greatest((select count(*) from raw.contributions), 1)"
        ).fetchone()
    assert row is not None
    measured["bytes of the database a contribution"] = row[0]
    print(f"{contributions:,} contributions: ordinary night {measured['ordinary night']:.1f} s", file=sys.stderr)
    return measured


def run(folder: Path, day: date, first: date) -> dict[str, float]:
    """Builds and publishes what was written; returns the seconds of each step."""
    from kkbc import nights

    run_id = open_run(folder, day, first)
    build_id = nights.open_build(run_id)
    nights.build_layer(build_id, "seeds")
    return {
        "audit of slices": timed(nights.audit_slices, build_id),
        "models": timed(nights.build_layer, build_id, "models"),
        "audit of marts": timed(nights.audit_marts, build_id),
        "publication": timed(nights.publish, build_id),
    }


def open_run(folder: Path, day: date, first: date) -> str:
    """Opens a run of nothing to pull; returns its id."""
    from kkbc import nights
    from kkbc.nights import RunRequest

    run_id = f"until {day} at {time.time()}"
    nights.open_run(
        RunRequest(day, folder / "branches", first_business_date=first, gate="warn"), mode="plain", run_id=run_id
    )
    return run_id


def write_history(first: date, contributions: int) -> int:
    """Some `contributions` from `first` to the day before NIGHT, and their registrations; returns how many they are."""
    days = (NIGHT - first).days
    iuran = max(1, round(contributions / days / BRANCHES))
    write(first, NIGHT - timedelta(days=1), {"pendaftaran": max(1, iuran // 5), "iuran": iuran, "kegiatan": 1})
    return iuran * days * BRANCHES


def write(first: date, last: date, rows: Mapping[str, int]) -> None:
    """The slices and raw rows of all branches from day to day, `rows` of each feed a branch and day."""
    from kkbc.warehouse import connect

    with connect() as conn:
        conn.execute(
            "select ops.ensure_partitions(month::date)"
            " from generate_series(date_trunc('month', %s::date), %s, interval '1 month') as month",
            [first, last],
        )
        for feed, count in rows.items():
            conn.execute(
                "insert into ops.slice (feed, branch_id, business_date, revision, status, sent_at, loaded_at,"
                " manifest_sha256, manifest_rows, rows_sent, rows_accepted, rows_nik_valid, rows_contactable, load_id)"
                " select %(feed)s, branch_id, d::date, 1, 'loaded', d + time '20:00', now(), 'x', %(n)s, %(n)s, %(n)s,"
                " %(n)s, %(n)s, nextval('ops.load_id')"
                " from ops.branch, generate_series(%(first)s::date, %(last)s::date, interval '1 day') d"
                " where branch_id <> 'HQ'",
                {"feed": feed, "first": first, "last": last, "n": count},
            )
            _, insert = ROWS[feed]
            conn.execute(
                f"{insert} from (select branch_id as b, business_date as d, load_id as l from ops.slice"
                " where feed = %(feed)s and business_date between %(first)s and %(last)s) s,"
                f" generate_series(1, {count}) as n",
                {"feed": feed, "first": first, "last": last},
            )


def timed(call: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
