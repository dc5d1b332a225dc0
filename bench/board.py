"""Times the branch board over three years of nights: `python bench/board.py`.

122 branches, 1,095 nights of 12 runs each: 401,000 slices and 1.6 million visits, all invented, in a database of its
own that goes away again. Prints the median of ten of each, and what of it was this process.
"""

import os
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from kkbc.core.settings import get_settings
from kkbc.warehouse import connect, migrate, schema, server
from kkbc.watching.board.night import branch_night, branch_states

NIGHTS = 1095
FIRST = date(2021, 1, 1)

FILL = (
    "insert into ops.branch (branch_id, kind, timezone, tier)"
    " select 'KC' || lpad(i::text, 3, '0'), 'file', 'Asia/Jakarta', 1 from generate_series(1, 122) i",
    "insert into ops.run (run_id, as_of, mode) select format('night %%s run %%s', d, h), %(first)s::date + d, 'airflow'"
    " from generate_series(0, %(nights)s - 1) d, generate_series(1, 12) h",
    "insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256, sent_at, rows_sent,"
    " rows_accepted) select f, branch_id, %(first)s::date + d, 1, 'loaded', '', now(), 100, 100 from ops.branch,"
    " generate_series(0, %(nights)s - 1) d, unnest(array['pendaftaran', 'iuran', 'kegiatan']) f",
    "insert into ops.attempt (run_id, branch_id, kind, started_at, finished_at, outcome)"
    " select run_id, branch_id, 'file', now(), now(), 'loaded' from ops.branch, ops.run",
)


def timed(name: str, ask: Callable[[], object]) -> None:
    """Prints the median of ten calls of `ask`."""
    whole, own = [], []
    for _ in range(10):
        began, spent = time.perf_counter(), time.process_time()
        ask()
        whole.append(time.perf_counter() - began)
        own.append(time.process_time() - spent)
    print(f"{name:<8} {1000 * median(whole):6.0f} ms, of which CPU of this process {1000 * median(own):.0f} ms")


def main() -> None:
    """Starts a server in a folder of its own, fills it, asks, and removes it."""
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
        home = Path(folder)
        try:
            running = server.start(home)
            schema.create_database(running, "kkbc")
            os.environ |= {"KKBC_HOME": folder, "KKBC_DATABASE_URL": running.conninfo("kkbc")}
            get_settings.cache_clear()
            migrate()
            with connect() as conn:
                for statement in FILL:
                    conn.execute(statement, {"first": FIRST, "nights": NIGHTS})
            with connect(autocommit=True) as conn:
                conn.execute("analyze")
            timed("night", branch_states)
            timed("branch", lambda: branch_night("KC044", FIRST + timedelta(days=NIGHTS - 200)))
        finally:
            server.stop(home)


if __name__ == "__main__":
    main()
