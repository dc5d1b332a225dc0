"""The pull beside other ways of loading the same files, in one run: `make bench-peers`.

260,000 clean rows, once in 244 files of 122 branches and once in 2 files (`bench/load.py` makes them), loaded by the
pull and by each of: COPY of the files into bare text tables; COPY of the typed rows into the pull's own typed, indexed
and partitioned tables; Polars and COPY; pandas.to_sql; dlt with its defaults and tuned; Sling. All but the pull and the
typed COPY write bare tables of text, and none but the pull validates anything: no rule, no key, no quarantine, no token
in place of a person. The pull also checks sums, keeps the bytes and writes the rows that it read beside them.

pandas.to_sql runs as it comes: with method="multi" it is four times slower (`--way pandas-multi` measures it).

Each is measured in a process of its own and a fresh database of one server, in turn, `--repeat` times. The tools are
in .venv-peers, built from bench/peers.lock; what cannot be run is shown with the reason.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

import load
from kkbc.core import tokens
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.warehouse import migrate, schema, server

LAYOUTS = {"many": "244 files", "few": "2 files"}
PULL, TYPED, MULTI = "pull", "typed", "pandas-multi"
OURS = {PULL: "many", TYPED: "typed", "text": "text"}
"""What bench/load.py measures, by the name that it has there."""
WAYS = {
    PULL: "pull: judged, landed and committed",
    TYPED: "COPY of these rows into the same tables",
    "text": "COPY of the files into bare tables",
    "polars": "Polars and COPY",
    "pandas": "pandas.to_sql",
    MULTI: 'pandas.to_sql, method="multi"',
    "dlt": "dlt, default",
    "dlt-tuned": "dlt, Arrow, Parquet and a worker a core",
    "sling": "Sling",
}
TEMPLATE, DATABASE = "peers_template", "peers"
LOADERS = Path(__file__).with_name("peer_loaders.py")
PYTHON = PROJECT_ROOT / ".venv-peers" / "bin" / "python"
GOALS = ((TYPED,), 0.5, "COPY into the same tables"), (("pandas", MULTI), 3.0, "the faster pandas.to_sql")


@dataclass(frozen=True)
class Result:
    """What the repetitions of a way took, or why it did not load all rows."""

    runs: list[dict[str, float]]
    reason: str | None = None

    @property
    def speed(self) -> list[float]:
        """Rows a second of each repetition."""
        return [run["rows"] / run["seconds"] for run in self.runs]

    @property
    def median(self) -> float:
        """The median of `speed`."""
        return statistics.median(self.speed)


def main() -> None:
    """Makes the files, measures all ways in turn, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each way (default 3)")
    parser.add_argument("--share", type=float, default=1.0, help="of the rows (default 1; 4 for four times as many)")
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--way", nargs="+", choices=WAYS, default=[way for way in WAYS if way != MULTI])
    parser.add_argument("--threads", type=int, default=4, help="visits at once of the pull (default 4, as `kkbc run`)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    ways = list(dict.fromkeys([PULL, *arguments.way]))
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        # The server's user reads nothing there, and must pass.
        rows = load.make(Path(folder) / "files", arguments.share)
        running = _server(Path(folder) / "server")
        try:
            found = {
                layout: _measured(ways, Path(folder) / "files" / layout, rows, running, arguments)
                for layout in arguments.layout
            }
        finally:
            server.stop(Path(folder) / "server")
    if arguments.json:
        print(json.dumps({"rows": rows, "load": os.getloadavg(), "found": _plain(found)}, indent=2))
        return
    print(f"{rows:,} rows, median of {arguments.repeat} (least to most), load {os.getloadavg()[0]:.1f}")
    for layout, results in found.items():
        print("\n".join(_table(LAYOUTS[layout], results)))
        print("\n".join(_goals(results)))


def _server(home: Path) -> server.Server:
    """A server with a migrated database, of which each measurement gets a copy."""
    running = server.start(home)
    schema.create_database(running, TEMPLATE)
    os.environ |= {"KKBC_HOME": str(home), "KKBC_DATABASE_URL": running.conninfo(TEMPLATE)}
    get_settings.cache_clear()
    migrate()
    with psycopg.connect(running.conninfo(), autocommit=True) as conn:
        # The tools come in over TCP, with this name and password.
        conn.execute("create role peers login superuser password 'peers'")
    return running


def _measured(
    ways: list[str], root: Path, rows: int, running: server.Server, arguments: argparse.Namespace
) -> dict[str, Result]:
    """Each way in turn, and that as often as asked, so that a slower minute of the machine meets all of them."""
    results: dict[str, Result] = {way: Result([]) for way in ways}
    for repetition in range(arguments.repeat):
        for way, result in results.items():
            if result.reason is None:
                print(f"{LAYOUTS[root.name]}, run {repetition + 1}: {WAYS[way]}", file=sys.stderr)
                once = _once(way, root, rows, running, arguments.threads)
                if isinstance(once, str):
                    results[way] = Result([], once)
                else:
                    result.runs.append(once)
    return results


def _once(way: str, root: Path, rows: int, running: server.Server, threads: int) -> dict[str, float] | str:
    """What one run took; the reason when it could not be done."""
    schema.drop_database(running, DATABASE)
    schema.create_database(running, DATABASE, template=TEMPLATE)
    with psycopg.connect(running.conninfo(DATABASE), autocommit=True) as conn:
        conn.execute("create schema peers")
        conn.execute("checkpoint")
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as home:
        environment = os.environ | {"KKBC_HOME": home, "KKBC_DATABASE_URL": running.conninfo(DATABASE)}
        if way in OURS:
            tokens.ensure_key(Path(home))
            command = [sys.executable, load.__file__, "--measure", OURS[way], "--root", str(root)]
            command += ["--threads", str(threads)]
        elif PYTHON.exists():
            url = f"postgresql://peers:peers@127.0.0.1:{running.port}/{DATABASE}"
            command = [str(PYTHON), str(LOADERS), way, str(root), url]
        else:
            return f"{PYTHON.parents[1].name} is not there: `make bench-peers` builds it from bench/peers.lock"
        began = load.server_cpu(running.pid)
        ran = subprocess.run(command, env=environment, capture_output=True, text=True)
        server_cpu = load.server_cpu(running.pid) - began
    if ran.returncode:
        return " ".join(ran.stderr.strip().splitlines()[-1:]) or f"ended with {ran.returncode}"
    spent: dict[str, float] = {"server_cpu": server_cpu, **json.loads(ran.stdout.strip().splitlines()[-1])}
    loaded = rows if way in (PULL, TYPED) else _loaded(running, "public" if way == "text" else "peers")
    return {**spent, "rows": rows} if loaded == rows else f"loaded {loaded:,} of {rows:,} rows"


def _loaded(running: server.Server, place: str) -> int:
    """Rows in the bare tables. What the pull loaded, bench/load.py counts."""
    with psycopg.connect(running.conninfo(DATABASE)) as conn:
        row = conn.execute(
            f"select (select count(*) from {place}.pendaftaran) + (select count(*) from {place}.iuran)"
        ).fetchone()
    return int(row[0]) if row else 0


def _table(files: str, results: dict[str, Result]) -> list[str]:
    of_pull = results[PULL].median if results[PULL].runs else 0.0
    lines = [f"\n{files:<42}{'rows/s':>9}{'least':>9}{'most':>9}{'seconds':>9}{'CPU':>7}{'server':>8}{'/ pull':>8}"]
    for way, result in results.items():
        if result.reason is not None:
            lines.append(f"{WAYS[way]:<42}  not measured: {result.reason}")
            continue
        of = {name: statistics.median(run[name] for run in result.runs) for name in ("seconds", "cpu", "server_cpu")}
        lines.append(
            f"{WAYS[way]:<42}{result.median:>9,.0f}{min(result.speed):>9,.0f}{max(result.speed):>9,.0f}"
            f"{of['seconds']:>9.2f}{of['cpu']:>7.1f}{of['server_cpu']:>8.1f}{result.median / of_pull:>8.2f}"
        )
    return lines


def _goals(results: dict[str, Result]) -> list[str]:
    """The pull's speed by that of others, against the goal."""
    lines = []
    for ways, goal, name in GOALS:
        others = [results[way].median for way in ways if way in results and results[way].runs]
        if others and results[PULL].runs:
            ratio = results[PULL].median / max(others)
            lines.append(f"goal: pull at least {goal:g} of {name}: {ratio:.2f}, {'met' if ratio >= goal else 'missed'}")
    return lines


def _plain(found: dict[str, dict[str, Result]]) -> dict[str, Any]:
    return {
        layout: {way: result.runs or {"reason": result.reason} for way, result in results.items()}
        for layout, results in found.items()
    }


if __name__ == "__main__":
    main()
