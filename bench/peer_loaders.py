"""One way of loading the deliveries below a folder into bare tables of schema peers, clocked; see bench/peers.py.

    .venv-peers/bin/python bench/peer_loaders.py WAY FOLDER URL

Runs in the environment of bench/peers.lock, without the project's packages. Prints seconds, and CPU seconds of this
process and of those that it started, as JSON; imports are not counted.
"""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FEEDS = ("pendaftaran", "iuran")
SCHEMA = "peers"


def main() -> None:
    """Loads by the way that is named."""
    way, folder, url = sys.argv[1:]
    print(json.dumps(WAYS[way](Path(folder), url)))


@contextmanager
def clocked() -> Iterator[dict[str, float]]:
    """What a block takes."""
    spent: dict[str, float] = {}
    began = time.perf_counter(), _cpu()
    yield spent
    spent["seconds"], spent["cpu"] = time.perf_counter() - began[0], _cpu() - began[1]


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def files(folder: Path, feed: str) -> list[Path]:
    """The files of a feed, in the order of the branches."""
    return sorted(folder.rglob(f"{feed}.csv"))


def polars_copy(folder: Path, url: str) -> dict[str, float]:
    """polars.read_csv of each file as text, written as CSV into COPY, a transaction a file."""
    import polars as pl
    import psycopg

    with psycopg.connect(url) as conn, clocked() as spent:
        for feed in FEEDS:
            for number, path in enumerate(files(folder, feed)):
                frame = pl.read_csv(path, separator=";", infer_schema=False)
                if not number:
                    columns = ", ".join(f"{name} text" for name in frame.columns)
                    conn.execute(f"create table {SCHEMA}.{feed} ({columns})")
                with conn.cursor() as cursor, cursor.copy(f"copy {SCHEMA}.{feed} from stdin (format csv)") as copy:
                    copy.write(frame.write_csv(include_header=False))
                conn.commit()
    return spent


def pandas_default(folder: Path, url: str) -> dict[str, float]:
    """pandas.read_csv of each file as text, and to_sql as it comes, over SQLAlchemy's own driver (psycopg 3)."""
    return _pandas(folder, url)


def pandas_multi(folder: Path, url: str) -> dict[str, float]:
    """The same with method="multi", 1,000 rows a statement."""
    return _pandas(folder, url, method="multi", chunksize=1_000)


def _pandas(folder: Path, url: str, **options: Any) -> dict[str, float]:
    import pandas as pd
    import sqlalchemy

    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with clocked() as spent:
        for feed in FEEDS:
            for path in files(folder, feed):
                frame = pd.read_csv(path, sep=";", dtype=str)
                frame.to_sql(feed, engine, schema=SCHEMA, if_exists="append", index=False, **options)
    engine.dispose()
    return spent


def dlt_default(folder: Path, url: str) -> dict[str, float]:
    """dlt's own source of CSV files, with its own settings but for delimiter and text."""
    from dlt.sources.filesystem import filesystem, read_csv

    def resources() -> list[Any]:
        return [
            (
                filesystem(bucket_url=folder.as_uri(), file_glob=f"**/{feed}.csv") | read_csv(sep=";", dtype=str)
            ).with_name(feed)
            for feed in FEEDS
        ]

    return _dlt(resources, url)


def dlt_tuned(folder: Path, url: str) -> dict[str, float]:
    """dlt over Arrow tables, read by PyArrow, as Parquet that ADBC copies; a worker a core.

    Its files of CSV, which PostgreSQL copies, are slower: 31,000 rows a second of two files where these were 41,000.
    """
    import dlt
    import pyarrow as pa
    from pyarrow import csv

    os.environ["NORMALIZE__WORKERS"] = os.environ["LOAD__WORKERS"] = str(os.cpu_count())

    def tables(feed: str) -> Iterator[pa.Table]:
        for path in files(folder, feed):
            names = path.open(encoding="utf-8").readline().strip().split(";")
            yield csv.read_csv(
                path,
                parse_options=csv.ParseOptions(delimiter=";", newlines_in_values=True),
                convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
            )

    return _dlt(lambda: [dlt.resource(tables(feed), name=feed) for feed in FEEDS], url, loader_file_format="parquet")


def _dlt(resources: Callable[[], list[Any]], url: str, **options: Any) -> dict[str, float]:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt

    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as work:
        pipeline = dlt.pipeline(
            "peers", destination=dlt.destinations.postgres(url), dataset_name=SCHEMA, pipelines_dir=work
        )
        with clocked() as spent:
            pipeline.run(resources(), **options).raise_on_failed_jobs()
    return spent


def sling(folder: Path, url: str) -> dict[str, float]:
    """`sling run` of a replication with a stream a feed over all its files. It is a process: its start is counted."""
    package = importlib.util.find_spec("sling_linux_amd64")
    if package is None or package.origin is None:
        raise SystemExit("Sling is installed on Linux for x86-64 alone")
    binary = Path(package.origin).parent / "bin" / "sling-linux-amd64"
    streams = {
        f"file://{folder}/*/*/{feed}.csv": {"object": f"{SCHEMA}.{feed}", "single": True, "mode": "full-refresh"}
        for feed in FEEDS
    }
    replication = {
        "source": "LOCAL",
        "target": "WAREHOUSE",
        "defaults": {"source_options": {"delimiter": ";"}},
        "streams": streams,
    }
    environment = os.environ | {"WAREHOUSE": f"{url}?sslmode=disable", "SLING_DISABLE_TELEMETRY": "TRUE"}
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as work:
        config = Path(work) / "replication.json"
        config.write_text(json.dumps(replication))
        environment["SLING_HOME_DIR"] = environment["HOME"] = work
        with clocked() as spent:
            ran = subprocess.run(
                [str(binary), "run", "-r", str(config)],
                env=environment,
                capture_output=True,
                text=True,
            )
    if ran.returncode:
        raise SystemExit(f"sling: {(ran.stderr or ran.stdout).strip()[-500:]}")
    return spent


WAYS: dict[str, Callable[[Path, str], dict[str, float]]] = {
    "polars": polars_copy,
    "pandas": pandas_default,
    "pandas-multi": pandas_multi,
    "dlt": dlt_default,
    "dlt-tuned": dlt_tuned,
    "sling": sling,
}

if __name__ == "__main__":
    main()
