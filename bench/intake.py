"""From bytes to committed rows: a slice of 10 MB, 200 MB and 2 GB through pull, each in a fresh process and database.

`make bench-intake`. Prints rows and megabytes a second, the peak of resident memory (of the process as the kernel
counts it, and sampled), and seconds by part; parts may overlap. Next to it, measured in the same run: plain COPY of the
same rows out of files into the same tables, and polars.read_csv of the file with a write of what it read, which is
neither judged nor loaded. Files are made once under --cache.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from files import BRANCH_ID, make

TABLES = ("raw.registrations", "vault.registrations", "ops.quarantine")


def main() -> None:
    """Makes the files, measures each in processes of its own, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 200, 2000])
    parser.add_argument("--format", nargs="+", default=["csv"], choices=["csv", "csv.gz", "jsonl", "jsonl.gz"])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "kkbc-bench")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(_measured(arguments.part, arguments.root)))
        return
    results = []
    for file_format in arguments.format:
        for megabytes in arguments.megabytes:
            root = make(arguments.cache, megabytes, file_format)
            results.append(_bench(root, peers=not arguments.no_peers and file_format == "csv"))
            print(json.dumps(results[-1]) if arguments.json else _lines(root.name, results[-1]), flush=True)


def _bench(root: Path, *, peers: bool) -> dict[str, Any]:
    """One file, through a home and server of its own."""
    from kkbc.core import tokens
    from kkbc.core.settings import get_settings
    from kkbc.warehouse import connect, migrate, schema, server

    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        os.environ["KKBC_HOME"] = str(home)
        get_settings.cache_clear()
        running = server.start(home)
        try:
            schema.create_database(running, "kkbc")
            os.environ["KKBC_DATABASE_URL"] = running.conninfo("kkbc")
            get_settings.cache_clear()
            migrate()
            tokens.ensure_key(home)
            with connect("loader") as conn:
                conn.execute("insert into ops.run (run_id, as_of, mode) values ('bench', '2023-12-31', 'plain')")
            return {name: _in_a_process(name, root) for name in (PARTS if peers else ["pull"])}
        finally:
            del os.environ["KKBC_DATABASE_URL"]
            server.stop(home)


def _in_a_process(part: str, root: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part, "--root", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        sampled: list[int] = []
        watcher = threading.Thread(target=_watch, args=(process.pid, sampled))
        watcher.start()
        printed, _ = process.communicate()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{part} of {root.name} failed")
    return {**json.loads(printed), "sampled_mb": max(sampled, default=0) / 2**20}


def _watch(pid: int, sampled: list[int]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            sampled.append(process.memory_info().rss)
            time.sleep(0.05)


def _measured(part: str, root: Path) -> dict[str, Any]:
    path = next(path for path in root.rglob("pendaftaran.*"))
    manifest = json.loads((path.parent / "manifest.json").read_text())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds, by_part = PARTS[part](root, path)
    return {
        "rows": manifest["files"][0]["rows"],
        "megabytes": path.stat().st_size / 1e6,
        "seconds": seconds,
        "cpu_seconds": time.process_time(),
        "rss_at_start_mb": before,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "by_part": by_part,
    }


def _pull(root: Path, path: Path) -> tuple[float, dict[str, float]]:
    from kkbc.core import tokens
    from kkbc.exchange.registry import load_registry
    from kkbc.intake import landing, parts, process
    from kkbc.nights import visit
    from kkbc.slices import loading
    from kkbc.warehouse import connect

    spent: dict[str, float] = defaultdict(float)

    def timed(owner: Any, name: str, part: str) -> None:
        function = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[part] += time.perf_counter() - began

        setattr(owner, name, wrapped)

    def timed_batches(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        reading = read(*args, **kwargs)
        spent["survey of the bytes, header"] += time.perf_counter() - began
        reading.batches = _timed(reading.batches, spent, "read")
        return reading

    read, process.read = process.read, timed_batches  # type: ignore[assignment]
    for owner, name, part in (
        (landing, "checksum", "checksum"),
        (process, "judge", "judge"),
        (process, "duplicate_lines", "duplicate keys within a part"),
        (process.RepeatedKeys, "losers", "duplicate keys across parts"),
        (tokens, "tokens", "tokens"),
        (parts.Parts, "_write", "write Parquet"),
        (loading, "copy_rows", "COPY of rows"),
        (loading, "copy_quarantine", "COPY of quarantine"),
    ):
        timed(owner, name, part)
    open_source = visit.open_source

    def opened(*args: Any, **kwargs: Any) -> Any:
        source = open_source(*args, **kwargs)
        timed(source, "fetch", "fetch")
        return source

    visit.open_source = opened
    began = time.perf_counter()
    with connect("loader", autocommit=True) as conn:
        report = visit.pull(conn, load_registry().get(BRANCH_ID), run_id="bench", until=date(2023, 12, 31), root=root)
    seconds = time.perf_counter() - began
    if report.loaded != 1:
        raise SystemExit(f"the slice was not loaded: {report.notes}")
    return seconds, dict(spent)


def _timed(batches: Iterator[Any], spent: dict[str, float], part: str) -> Iterator[Any]:
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        spent[part] += time.perf_counter() - began
        if batch is None:
            return
        yield batch


def _copy(root: Path, path: Path) -> tuple[float, dict[str, float]]:
    """What was pulled, out of files by table into the tables emptied: PostgreSQL's part of the work."""
    from copying import emptied

    with emptied(TABLES) as copy_back:
        by_part = copy_back()
    return sum(by_part.values()), by_part


def _polars(root: Path, path: Path) -> tuple[float, dict[str, float]]:
    import polars as pl

    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
        began = time.perf_counter()
        frame = pl.read_csv(path, separator=";", infer_schema=False, truncate_ragged_lines=True)
        read = time.perf_counter()
        frame.write_parquet(Path(folder) / "rows.parquet")
        done = time.perf_counter()
    return done - began, {"read_csv": read - began, "write_parquet": done - read}


PARTS: dict[str, Callable[[Path, Path], tuple[float, dict[str, float]]]] = {
    "pull": _pull,
    "copy": _copy,
    "polars": _polars,
}


def _lines(name: str, result: dict[str, Any]) -> str:
    return "\n".join([f"\n{name}", *_table(result)])


def _table(result: dict[str, Any]) -> Iterable[str]:
    titles = {
        "pull": "pull: bytes to committed rows",
        "copy": "plain COPY of these rows",
        "polars": "polars read, write",
    }
    yield f"  {'':<32}{'seconds':>9}{'CPU':>7}{'rows/s':>10}{'MB/s':>7}{'peak RSS MB':>13}{'sampled':>9}"
    for part, title in titles.items():
        if found := result.get(part):
            speed = f"{found['rows'] / found['seconds']:>10,.0f}{found['megabytes'] / found['seconds']:>7.1f}"
            memory = f"{found['peak_rss_mb']:>13.0f}{found['sampled_mb']:>9.0f}"
            yield f"  {title:<32}{found['seconds']:>9.1f}{found['cpu_seconds']:>7.1f}{speed}{memory}"
    for part, seconds in result["pull"]["by_part"].items():
        yield f"    {part:<30}{seconds:>9.1f}"


if __name__ == "__main__":
    main()
