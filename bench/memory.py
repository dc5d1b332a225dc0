"""The memory that a build and a visit need at most: `python bench/memory.py`.

A history of `--contributions` is built and published, then two ordinary nights: the first with a process for each step,
as Airflow runs them, the second in one process, as `kkbc run` does. After it visits, each in a process of its own: CSV
files of `--megabytes`, and a workbook of `--workbook` rows with the process that reads it. Prints the peak of resident
memory as the kernel counts it, in MB, of the process and of the largest that it started; PostgreSQL's is not in it.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import growth
from files import BRANCH_ID, clean_registrations, make
from kkbc.core.settings import get_settings

STEPS = ("seeds", "audit of slices", "models", "audit of marts", "publication")
HISTORY_DAYS = 90


def main() -> None:
    """Measures builds and visits in homes of their own, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contributions", type=int, default=300_000, help="rows of history; 0 leaves the builds out")
    parser.add_argument("--in-one", action="store_true", help="all builds in one process; none by steps")
    parser.add_argument("--megabytes", type=int, nargs="*", default=[10, 200])
    parser.add_argument("--workbook", type=int, default=100_000, help="rows of a workbook; 0 leaves it out")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "kkbc-bench")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(_inside(*arguments.inside)))
        return
    measured: list[dict[str, Any]] = []
    say(f"{'MB at most':<58}{'process':>9}{'children':>10}")
    if arguments.contributions:
        measured += _in_a_home(lambda folder: _builds(folder, arguments.contributions, arguments.in_one))
    for megabytes in arguments.megabytes:
        root = make(arguments.cache, megabytes)
        measured += _in_a_home(lambda folder, root=root, size=megabytes: [_visit(f"visit, {size} MB", root)])
    if arguments.workbook:
        measured += _in_a_home(
            lambda folder: [
                _visit(f"visit, workbook of {arguments.workbook:,} rows", _book(folder, arguments.workbook))
            ]
        )
    if arguments.json:
        print(json.dumps(measured, indent=2))


def _in_a_home(measure: Callable[[Path], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What is measured in a new home, whose server runs meanwhile."""
    from kkbc.nights.prepare import prepare
    from kkbc_play.stack import down

    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["KKBC_HOME"] = str(Path(folder) / "home")
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        get_settings.cache_clear()
        try:
            prepare()
            return measure(Path(folder))
        finally:
            down()


def _builds(folder: Path, contributions: int, in_one: bool) -> list[dict[str, Any]]:
    """A history and two nights after it."""
    (folder / "branches").mkdir()
    first = growth.NIGHT - timedelta(days=HISTORY_DAYS)
    growth.open_run(folder, first, first)
    growth.write_history(first, contributions)
    steps = _in_one if in_one else _by_steps
    measured = steps(folder, growth.NIGHT - timedelta(days=1), first, f"{contributions:,} contributions built whole")
    for day, again in ((growth.NIGHT, steps), (growth.NIGHT + timedelta(days=1), _in_one)):
        growth.write(day, day, growth.ORDINARY)
        measured += again(folder, day, first, "ordinary night")
    return measured


def _by_steps(folder: Path, day: date, first: date, what: str) -> list[dict[str, Any]]:
    build_id = _opened(folder, day, first)
    return [_process(f"{what}: {step}", "steps", build_id, step) for step in STEPS]


def _in_one(folder: Path, day: date, first: date, what: str) -> list[dict[str, Any]]:
    return [_process(f"{what}: all steps in one process", "steps", _opened(folder, day, first), *STEPS)]


def _opened(folder: Path, day: date, first: date) -> str:
    """A new build of a new run."""
    from kkbc import nights

    return str(nights.open_build(growth.open_run(folder, day, first)))


def _visit(what: str, root: Path) -> dict[str, Any]:
    return _process(what, "visit", str(root))


def _process(what: str, *inside: str) -> dict[str, Any]:
    """What a process of its own needs at most to do something."""
    done = subprocess.run([sys.executable, __file__, "--inside", *inside], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    say(f"{what:<58}{found['own']:>9.0f}{found['children']:>10.0f}")
    return {"what": what, **found}


def say(line: str) -> None:
    """A line of the table, as soon as it is known."""
    print(line, file=sys.stderr, flush=True)


def _inside(kind: str, *names: str) -> dict[str, float]:
    """Does it in this process."""
    if kind == "visit":
        _pull(Path(names[0]))
    elif kind == "book":
        _write_book(Path(names[0]), int(names[1]))
    else:
        for step in names[1:]:
            _step(step, int(names[0]))
    own, children = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"own": own, "children": children}


def _step(step: str, build_id: int) -> None:
    from kkbc import nights

    match step:
        case "seeds" | "models":
            nights.build_layer(build_id, step)
        case "audit of slices":
            nights.audit_slices(build_id)
        case "audit of marts":
            nights.audit_marts(build_id)
        case _:
            nights.publish(build_id)


def _pull(root: Path) -> None:
    """Visits the branch whose deliveries are below `root`."""
    from kkbc import nights

    day = date(2023, 12, 11)
    run = nights.open_run(nights.RunRequest(day, root, first_business_date=day), mode="plain", run_id="bench")
    report = nights.pull_branch(run.run_id, BRANCH_ID)
    if not report["rows"]:
        raise SystemExit(f"nothing was loaded: {report}")


def _book(folder: Path, rows: int) -> Path:
    """A delivery of registrations as a workbook; returns the root of the branches.

    Made by another process: the kernel counts what a process held when it started a visit as the visit's own peak.
    """
    root = folder / "branches"
    subprocess.run(
        [sys.executable, __file__, "--inside", "book", str(root), str(rows)], check=True, capture_output=True
    )
    return root


def _write_book(root: Path, rows: int) -> None:
    delivery = root / BRANCH_ID / "2023-12-11"
    delivery.mkdir(parents=True)
    path = delivery / "pendaftaran.xlsx"
    clean_registrations(rows).write_excel(path)
    content = path.read_bytes()
    listed = {"feed": "pendaftaran", "name": path.name, "rows": rows, "bytes": len(content)}
    listed["sha256"] = hashlib.sha256(content).hexdigest()
    manifest = {"schema_version": 1, "branch_id": BRANCH_ID, "business_date": "2023-12-11", "revision": 1}
    manifest |= {"sent_at": "2023-12-12T00:05:00+07:00", "files": [listed]}
    (delivery / "manifest.json").write_text(json.dumps(manifest))


if __name__ == "__main__":
    main()
