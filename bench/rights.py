"""What the rights of persons cost at national size: `python bench/rights.py`.

`--nights` national nights (430,000 participants, 300,000 rows a night) are played and published. Then, by the command
line as an operator would and in this order: a backup, a second one with nothing new, a search for ten persons before
their erasure (which finds them), their erasure with its search, the list of the erased beside the backups, a search
alone, a change of the key of the tokens, a restore of the first backup into another home (which erases the ten again).
Prints wall seconds and the peak of memory of each command, with `--json` also what each tells of itself. Published
figures are compared before and after: a difference ends the program with an error.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from night import use_home

PERSONS = 10
NIKS = "select nik from vault.contributions group by nik order by md5(nik) limit %s"
FIGURES = (
    "select branch_id, business_date, registrations, acquisitions, aktif, contributions_idr from bi.kpi_branch_daily"
)


def main() -> None:
    """Plays, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=2, help="national nights before (default 2)")
    parser.add_argument("--scale", choices=("default", "national"), default="national")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        measured = _measure(Path(folder), arguments.nights, arguments.scale)
    if arguments.json:
        print(json.dumps(measured, indent=2))
        return
    print(f"{'':<34}{'seconds':>9}{'peak MB':>9}")
    for name, found in measured["commands"].items():
        print(f"{name:<34}{found['seconds']:>9.1f}{found['peak MB']:>9.0f}")
    for name in ("landing", "database", "read"):
        print(f"{name}: {measured[name]}")


def _measure(folder: Path, nights: int, scale: str) -> dict[str, Any]:
    from kkbc_play.stack import down

    home, other = folder / "home", folder / "other"
    try:
        use_home(home)
        measured = _play(folder, nights, scale)
        niks = "".join(f"{nik}\n" for (nik,) in _rows(NIKS, PERSONS))
        commands: dict[str, dict[str, Any]] = measured.setdefault("commands", {})

        def do(name: str, *words: str, given: str | None = None, expect: int = 0) -> dict[str, Any]:
            commands[name] = _timed(words, given, expect)
            print(f"{name}: {commands[name]['seconds']:.1f} s", file=sys.stderr)
            return commands[name]["told"]  # type: ignore[no-any-return]

        figures = sorted(_rows(FIGURES), key=str)
        why = ("--why", "a measurement")
        backups, keys = str(folder / "backups"), str(folder / "keys")
        first = do("backup", "backup", "--to", backups, "--keys-to", keys)
        do("backup with nothing new", "backup", "--to", backups)
        do("search before the erasure", "erase", "--verify", *why, given=niks, expect=1)
        do("erasure of ten, with its search", "erase", *why, given=niks)
        do("list of the erased beside backups", "backup", "--to", backups, "--suppression-only")
        measured["read"] = do("search after it", "erase", "--verify", *why, given=niks)
        do("change of the key", "keys", "rotate", *why)
        if sorted(_rows(FIGURES), key=str) != figures:
            raise SystemExit("published figures have changed")
        down()
        use_home(other)
        do(
            "restore, the ten erased again",
            *("restore", backups, first["name"], "--keys-from", f"{keys}/{first['name']}"),
        )
        if _rows("select count(*) from vault.contributions where nik = any(%s)", niks.split()) != [(0,)]:
            raise SystemExit("the restored home has persons who were erased")
        if sorted(_rows(FIGURES), key=str) != figures:
            raise SystemExit("published figures of the restored home differ")
    finally:
        for at in (home, other):
            use_home(at)
            down()
    return measured


def _play(folder: Path, nights: int, scale: str) -> dict[str, Any]:
    """A home with its nights, and its size."""
    from kkbc.core.settings import get_settings
    from kkbc.nights import RunRequest, plain
    from kkbc_play.simulator import DEFAULT, NATIONAL, World

    world = World(folder / "world", scale={"default": DEFAULT, "national": NATIONAL}[scale], truth=False)
    for _ in range(nights):
        night = world.play_night()
        plain.run_night(
            RunRequest(night.business_date, world.branches_root, first_business_date=world.first_date),
            lambda *_: None,
        )
    landed = [path.stat().st_size for path in (get_settings().home / "landing").rglob("*") if path.is_file()]
    tables = ("raw.registrations", "raw.contributions", "vault.registrations", "vault.contributions")
    return {
        "load": os.getloadavg(),
        "landing": {"files": len(landed), "bytes": sum(landed)},
        "database": {
            "bytes": _rows("select pg_database_size(current_database())")[0][0],
            **{table: _rows(f"select count(*) from {table}")[0][0] for table in tables},
        },
    }


def _timed(words: tuple[str, ...], given: str | None, expect: int) -> dict[str, Any]:
    """Wall seconds, peak of memory and JSON of a command in a process of its own."""
    with tempfile.NamedTemporaryFile(prefix="kkbc-bench-usage-") as usage:
        began = time.perf_counter()
        done = subprocess.run(
            ["/usr/bin/env", "python3", "-c", _PEAK, usage.name, f"{sys.prefix}/bin/kkbc", *words, "--json"],
            **{"input": given, "capture_output": True, "text": True},
        )
        seconds = time.perf_counter() - began
        if done.returncode != expect:
            raise SystemExit(f"kkbc {words[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        peak = int(Path(usage.name).read_text()) / 1024
    found = re.search(r"^[{\[].*", done.stdout, re.DOTALL | re.MULTILINE)
    return {"seconds": seconds, "peak MB": peak, "told": json.loads(found.group()) if found else {}}


# A parent of the command alone, as the kernel tells the peak of the largest child there was.
_PEAK = (
    "import resource, subprocess, sys, pathlib;"
    "done = subprocess.run(sys.argv[2:]);"
    "pathlib.Path(sys.argv[1]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss));"
    "sys.exit(done.returncode)"
)


def _rows(query: str, *values: Any) -> list[tuple[Any, ...]]:
    from kkbc.warehouse import connect

    with connect() as conn:
        return conn.execute(query, values or None).fetchall()  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
