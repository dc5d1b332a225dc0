"""Times a change of the key of the tokens on a history: `python bench/rotation.py --contributions 740000`.

The history is that of bench/growth.py, built and published, with a made-up NIK in the vault for each participant.
Prints the seconds of each part, rows a second, the WAL, the bytes of the database before and after, and how long the
slowest of a reader's statements took meanwhile. With `--home`, done again, it measures the next change.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from growth import NIGHT, open_run, timed, write_history
from kkbc.core.settings import get_settings

VAULT = (
    "create temporary table person as"
    " select participant_token, '31' || lpad((row_number() over ())::text, 14, '0') as nik"
    " from (select participant_token from raw.registrations union select participant_token from raw.contributions) t",
    "insert into vault.registrations (_business_date, _branch_id, _revision, _line, _load_id, participant_token, nik,"
    " full_name, birth_date, declared_income) select _business_date, _branch_id, _revision, _line, _load_id,"
    " participant_token, nik, 'Orang Contoh', '1990-03-12', 0"
    " from raw.registrations join person using (participant_token)",
    "insert into vault.contributions (_business_date, _branch_id, _revision, _line, _load_id, participant_token, nik)"
    " select _business_date, _branch_id, _revision, _line, _load_id, participant_token, nik"
    " from raw.contributions join person using (participant_token)",
)
READ = "select count(*) from bi_detail.fct_acquisition a join bi_detail.dim_participant p using (participant_token)"


def main() -> None:
    """Measures in an installation of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contributions", type=int, default=740_000, help="size of the history (default 740000)")
    parser.add_argument("--days", type=int, default=730, help="days of history (default 730)")
    parser.add_argument("--home", type=Path, help="keep the installation there; one that is there is used as it is")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
        os.environ["KKBC_HOME"] = str(arguments.home or Path(folder) / "home")
        get_settings.cache_clear()
        from kkbc_play.stack import down

        try:
            made = (get_settings().home / "history").exists()
            if not made:
                make(Path(folder), arguments.contributions, arguments.days)
            print(json.dumps(measure(), indent=2))
        finally:
            down()


def make(folder: Path, contributions: int, days: int) -> None:
    """A history that was built and published."""
    from kkbc import nights
    from kkbc.nights.prepare import prepare
    from kkbc.warehouse import connect

    prepare()
    (folder / "branches").mkdir()
    first = NIGHT - timedelta(days=days)
    open_run(folder, first, first)
    write_history(first, contributions)
    with connect() as conn:
        for statement in VAULT:
            conn.execute(statement)  # type: ignore[arg-type]
    build_id = nights.open_build(open_run(folder, NIGHT - timedelta(days=1), first))
    for layer in ("seeds", "models"):
        nights.build_layer(build_id, layer)
    nights.publish(build_id)
    with connect(autocommit=True) as conn:
        conn.execute("vacuum analyze")
    (get_settings().home / "history").touch()


def measure() -> dict[str, Any]:
    """The seconds of a change and of its parts, and what it does to the disk."""
    from kkbc.nights.prepare import prepare
    from kkbc.upkeep.keys import rotate

    prepare()
    measured: dict[str, Any] = {
        "contributions": value("select count(*) from raw.contributions"),
        "bytes before": size(),
    }
    began = {"start": time.perf_counter()}
    slowest, over = [0.0], threading.Event()
    reader = threading.Thread(target=read, args=(slowest, over))
    reader.start()
    lsn = value("select pg_current_wal_lsn()::text")
    done = rotate(why="a measurement", who="bench", step=lambda task, *_: began.setdefault(task, time.perf_counter()))
    began["end"] = time.perf_counter()
    over.set()
    reader.join()
    assert done is not None
    marks = list(began.items())
    measured |= {f"seconds: {name}": later[1] - at for (name, at), later in pairwise(marks)}
    seconds = measured["seconds"] = began["end"] - began["start"]
    measured["tokens"] = done.persons
    measured["rows"] = sum(done.rows.values())
    measured["rows a second"] = measured["rows"] / seconds
    measured["WAL bytes"] = value(f"select pg_current_wal_lsn() - '{lsn}'::pg_lsn")
    measured["bytes after"] = size()
    measured["slowest read, seconds"] = slowest[0]
    return {name: float(found) for name, found in measured.items()}


def read(slowest: list[float], over: threading.Event) -> None:
    """Reads again and again; keeps the seconds of the slowest read."""
    from kkbc.warehouse import connect

    with connect("analyst", autocommit=True) as conn:
        while not over.wait(0.1):
            slowest[0] = max(slowest[0], timed(conn.execute, READ))


def size() -> int:
    """Bytes of the database."""
    return int(value("select pg_database_size(current_database())"))


def value(query: str) -> Any:
    """What a query of one value finds."""
    from kkbc.warehouse import connect

    with connect() as conn:
        row = conn.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


if __name__ == "__main__":
    sys.exit(main())
