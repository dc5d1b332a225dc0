"""The night of the project beside that of a plain reference pipeline, and their marts cell by cell: see README.md.

    .venv/bin/python bench/reference/compare.py --scale default

Plays the nights, runs each in one process of the project (`kkbc run`) and by the reference, over the same deliveries
and on the same server, one after the other. The first `--warm` nights are not counted. Ends with 1 when a published
mart differs in a cell. `line` of the facts is left out: the project counts lines of the file, the reference its rows.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from pipeline import Reference
from psycopg import sql

from kkbc.core.settings import get_settings

GOAL = 4.0
LEFT_OUT = "line"


def main() -> None:
    """Plays, runs, compares and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("default", "national"), default="default")
    parser.add_argument("--share", type=float, default=1.0, help="of the scale's participants and rows (default 1)")
    parser.add_argument("--warm", type=int, default=1, help="nights before those that are counted (default 1)")
    parser.add_argument("--nights", type=int, default=1, help="nights that are counted (default 1)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["KKBC_HOME"] = str(Path(folder) / "home")
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        get_settings.cache_clear()
        from kkbc_play.stack import down

        try:
            nights, differences = measure(Path(folder), arguments)
        finally:
            down()
    ratio = statistics.median(night["reference"] / night["project"] for night in nights)
    if arguments.json:
        print(json.dumps({"nights": nights, "ratio": ratio, "differences": differences}, indent=2))
    else:
        _report(nights, ratio, differences, national=arguments.scale == "national" and arguments.share == 1)
    raise SystemExit(1 if differences else 0)


def measure(folder: Path, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """The counted nights, and the differences after the last."""
    from kkbc import nights
    from kkbc.nights import plain
    from kkbc.nights.prepare import prepare
    from kkbc.warehouse import schema, server
    from kkbc_play.simulator import DEFAULT, NATIONAL, World

    scale = {"default": DEFAULT, "national": NATIONAL}[arguments.scale]
    volumes = ("registrations", "contributions", "opening")
    scale = replace(scale, **{name: round(getattr(scale, name) * arguments.share) for name in volumes})
    world = World(folder / "world", scale=scale, truth=False)
    prepare()
    running = server.start(get_settings().home)
    schema.create_database(running, "reference")
    key = (get_settings().keys / "pii.key").read_text().strip()
    reference = Reference(running.conninfo("reference"), folder / "reference", key)
    reference.prepare()
    counted = []
    for night in range(arguments.warm + arguments.nights):
        played = world.play_night()
        request = nights.RunRequest(
            played.business_date, world.branches_root, first_business_date=world.first_date, gate="warn"
        )
        sys.dont_write_bytecode = False  # else each process would compile all that it imports
        began = time.perf_counter()
        plain.run_night(request, lambda *_: None)
        project = time.perf_counter() - began
        parts = reference.night(world.branches_root, played.business_date, world.first_date)
        found = {"rows": played.rows, "project": project, "reference": sum(parts.values()), "parts": parts}
        print(f"night {night + 1}: {json.dumps(found)}", file=sys.stderr)
        if night >= arguments.warm:
            counted.append(found)
    return counted, list(_differences(running.conninfo("kkbc"), reference.conninfo))


def _differences(project: str, reference: str) -> list[str]:
    """A line for each published mart whose rows are not the same in both, with the first of them."""
    from kkbc.marts.models import published_models

    lines = []
    with psycopg.connect(project) as ours, psycopg.connect(reference) as theirs:
        for model in published_models():
            query = "select {} from {}"
            columns = [name for name in model.columns if name != LEFT_OUT]
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            rows = Counter(ours.execute(sql.SQL(query).format(names, sql.Identifier(model.schema, model.name))))
            others = Counter(theirs.execute(sql.SQL(query).format(names, sql.Identifier("bi", model.name))))
            print(f"{model.table}: {rows.total():,} rows, {len(columns)} columns", file=sys.stderr)
            if rows != others:
                lines.append(_difference(model, columns, list(rows - others), list(others - rows)))
    return lines


def _difference(model: Any, names: list[str], ours: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]]) -> str:
    """How many rows differ, and the cells that do of the first by key."""
    places = [names.index(name) for name in model.primary_key]
    by_key = {tuple(row[place] for place in places): row for row in theirs}
    for row in ours:
        key = tuple(row[place] for place in places)
        if other := by_key.get(key):
            cells = [f"{n}: {a} | {b}" for n, a, b in zip(names, row, other, strict=True) if a != b]
            return f"{model.table}: {len(ours)} and {len(theirs)} rows differ; at {key}: {', '.join(cells)}"
    example = (ours + theirs)[0]
    return f"{model.table}: {len(ours)} rows of the project alone, {len(theirs)} of the reference, e.g. {example}"


def _report(nights: list[dict[str, Any]], ratio: float, differences: list[str], *, national: bool) -> None:
    for night in nights:
        print(f"{night['rows']:,} rows: project {night['project']:.1f} s, reference {night['reference']:.1f} s")
        for part, seconds in night["parts"].items():
            print(f"  {part:<20}{seconds:>8.1f}")
    met = "met" if ratio >= GOAL else "missed"
    goal = f" (goal at least {GOAL:g}: {met})" if national else ""
    print(f"reference / project: {ratio:.2f}{goal}")
    print("\n".join(differences) or "the marts are the same, cell by cell")


if __name__ == "__main__":
    main()
