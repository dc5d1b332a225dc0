"""From bytes to committed rows, of many small slices and of few large ones: `make bench-load`.

260,000 clean rows, 20,000 registrations and 240,000 contributions, once in a slice of each for every branch office
(244) and once in 2 files, pulled by a few threads of one process into a new home. Beside it, in the same run: COPY of
the same 244 files into bare text tables, and COPY of the rows that were loaded into the same typed, indexed and
partitioned tables, emptied, both by one connection. Prints rows a second, and the CPU seconds of the process and of
PostgreSQL.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import kkbc  # noqa: F401 (before Polars, whose number of threads it sets)

# isort: split
import numpy as np
import polars as pl
import psutil

from files import BRANCH_ID, clean_registrations

DAY = date(2023, 12, 11)
REGISTRATIONS, CONTRIBUTIONS = 20_000, 240_000
TABLES = ("raw.registrations", "vault.registrations", "raw.contributions")


def main() -> None:
    """Makes the files, measures each way in processes and homes of its own, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=4, help="visits at once (default 4, as `kkbc run`)")
    parser.add_argument("--share", type=float, default=1.0, help="of the rows (default 1)")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each way; the median is shown")
    parser.add_argument("--case", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", choices=sorted(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(_measured(arguments.measure, arguments.root, arguments.threads)))
        return
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        rows = make(Path(folder), arguments.share)
        runs = {
            case: [_in_a_home(case, Path(folder), arguments.threads) for _ in range(arguments.repeat)]
            for case in arguments.case
        }
    if arguments.json:
        print(json.dumps({"rows": rows, "load": os.getloadavg(), "runs": runs}))
        return
    print(f"{rows:,} rows, {arguments.threads} threads, median of {arguments.repeat}, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<52}{'seconds':>9}{'rows/s':>10}{'CPU':>8}{'server':>8}{'peak RSS MB':>13}")
    for case, found in runs.items():
        of = {name: statistics.median(run[name] for run in found) for name in found[0]}
        print(
            f"{CASES[case][0]:<52}{of['seconds']:>9.2f}{rows / of['seconds']:>10,.0f}{of['cpu']:>8.1f}"
            f"{of['server_cpu']:>8.1f}{of['peak_rss_mb']:>13.0f}"
        )


def make(folder: Path, share: float = 1.0) -> int:
    """The deliveries, below `folder`/many and `folder`/few; returns their number of rows."""
    from kkbc.exchange.registry import load_registry

    offices = [branch.branch_id for branch in load_registry().offices]
    registrations = clean_registrations(round(REGISTRATIONS * share))
    contributions = _contributions(registrations["nik"], round(CONTRIBUTIONS * share))
    for place, branch_id in enumerate(offices):
        parts = {
            "pendaftaran": registrations.gather_every(len(offices), place),
            "iuran": contributions.gather_every(len(offices), place),
        }
        _deliver(folder / "many", branch_id, parts)
    _deliver(folder / "few", offices[0], {"pendaftaran": registrations})
    _deliver(folder / "few", offices[1], {"iuran": contributions})
    return registrations.height + contributions.height


def _contributions(niks: pl.Series, count: int) -> pl.DataFrame:
    dice = np.random.default_rng(1)
    minute = dice.integers(7 * 60, 17 * 60, count)
    at = [f"2023-12-11 {m // 60:02}:{m % 60:02}" for m in minute]
    return pl.DataFrame(
        {
            "id_bayar": [f"P-{number:09}" for number in range(count)],
            "kode_kantor": [BRANCH_ID] * count,
            "nik": niks.gather(dice.integers(0, len(niks), count)),
            "tgl_bayar": at,
            "kanal_bayar": ["BRI"] * count,
            "periode_mulai": ["2023-12-01"] * count,
            "jml_bulan": ["1"] * count,
            "kode_program": ["JKK_JKM"] * count,
            "iuran_jkk": ["10000"] * count,
            "iuran_jkm": ["6800"] * count,
            "iuran_jht": ["0"] * count,
            "total": ["16800"] * count,
            "status_data": ["BARU"] * count,
            "diubah_pada": at,
        }
    )


def _deliver(root: Path, branch_id: str, feeds: dict[str, pl.DataFrame]) -> None:
    folder = root / branch_id / DAY.isoformat()
    folder.mkdir(parents=True)
    listed = []
    for feed, frame in feeds.items():
        content = frame.with_columns(pl.lit(branch_id).alias("kode_kantor")).write_csv(separator=";").encode()
        (folder / f"{feed}.csv").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        listed.append(
            {"feed": feed, "name": f"{feed}.csv", "rows": frame.height, "bytes": len(content), "sha256": digest}
        )
    manifest = {"schema_version": 1, "branch_id": branch_id, "business_date": DAY.isoformat(), "revision": 1}
    manifest |= {"sent_at": "2023-12-12T00:05:00+07:00", "files": listed}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _in_a_home(case: str, folder: Path, threads: int) -> dict[str, float]:
    """One way in a new home, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as home:
        command = [
            sys.executable,
            __file__,
            "--measure",
            case,
            "--root",
            str(folder / CASES[case][1]),
            "--threads",
            str(threads),
        ]
        environment = os.environ | {"KKBC_HOME": home}
        printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        found: dict[str, float] = json.loads(printed)
        return found


def _measured(case: str, root: Path, threads: int) -> dict[str, float]:
    from kkbc.nights.prepare import prepare
    from kkbc_play.stack import down

    prepare()
    try:
        spent = CASES[case][2](root, threads)
        return {**spent, "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    finally:
        down()


@contextmanager
def _clocked() -> Iterator[dict[str, float]]:
    """What a block takes: seconds, and CPU seconds of this process and of the server."""
    from kkbc.warehouse import connect

    with connect() as conn:
        server = psutil.Process(conn.info.backend_pid).ppid()
    spent: dict[str, float] = {}
    began = time.perf_counter(), time.process_time(), server_cpu(server)
    yield spent
    ended = time.perf_counter(), time.process_time(), server_cpu(server)
    for name, before, after in zip(("seconds", "cpu", "server_cpu"), began, ended, strict=True):
        spent[name] = after - before


def server_cpu(pid: int) -> float:
    """CPU seconds of a server and of its processes, also of those that ended."""
    server = psutil.Process(pid)
    own = server.cpu_times()
    living = []
    for process in server.children():
        with suppress(psutil.NoSuchProcess):  # which the server counts by now
            living.append(process.cpu_times())
    return float(
        own.user + own.system + own.children_user + own.children_system + sum(t.user + t.system for t in living)
    )


def _pull(root: Path, threads: int) -> dict[str, float]:
    from kkbc import nights
    from kkbc.warehouse import connect

    run = nights.open_run(nights.RunRequest(DAY, root, first_business_date=DAY), mode="plain", run_id="bench")
    with _clocked() as spent, ThreadPoolExecutor(threads) as pool:
        reports = list(pool.map(lambda branch_id: nights.pull_branch(run.run_id, branch_id), run.branch_ids))
    with connect("auditor") as conn:
        row = conn.execute(
            "select sum(rows_sent), sum(rows_quarantined) from ops.slice where status = 'loaded'"
        ).fetchone()
    if row is None or row[0] != sum(report["rows"] for report in reports) or row[1]:
        raise SystemExit(f"not all rows were loaded clean: {row}")
    return spent


def _copy_text(root: Path, threads: int) -> dict[str, float]:
    """The files as they are, a transaction each."""
    from kkbc.warehouse import connect

    files = sorted(root.rglob("*.csv"))
    with connect() as conn:
        for path in {path.name: path for path in files}.values():
            header = path.read_text().partition("\n")[0].split(";")
            conn.execute(f"create table {path.stem} ({', '.join(f'{name} text' for name in header)})")
        conn.commit()
        with _clocked() as spent:
            for path in files:
                statement = f"copy {path.stem} from stdin (format csv, header, delimiter ';')"
                with conn.cursor() as cursor, cursor.copy(statement) as copy:
                    copy.write(path.read_bytes())
                conn.commit()
    return spent


def _copy_typed(root: Path, threads: int) -> dict[str, float]:
    """What was loaded of the slices, out of files by table into the tables emptied."""
    from copying import emptied

    _pull(root, threads)
    with emptied(TABLES) as copy_back, _clocked() as spent:
        copy_back()
    return spent


CASES: dict[str, tuple[str, str, Callable[[Path, int], dict[str, float]]]] = {
    "many": ("pull of 244 slices, judged and committed", "many", _pull),
    "few": ("pull of 2 files, judged and committed", "few", _pull),
    "typed": ("COPY of these rows into the same tables, emptied", "many", _copy_typed),
    "text": ("COPY of the 244 files into bare text tables", "many", _copy_text),
}
"""Of each way its title, the folder of the deliveries that it loads, and what does it."""

if __name__ == "__main__":
    main()
