"""Times publications and what readers feel of them: `python bench/publication.py`.

Marts of made-up rows at the size of a year of 122 branches, in a home of its own. Readers in processes of their own
look again and again at one row of each mart, as dashboards do at their smallest, so that any wait shows; their slowest
looks are distinguished by whether a publication was under way. Prints the seconds of a publication by share of rows
changed, of one that changes a shape, of a rollback; and of readers: looks, errors, mixtures seen, and the slowest look
with and without publications next to them. On a busy machine a look waits
for a processor, so that what is waited for locks is asked of the server next to it.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from datetime import date
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Any

from kkbc.core.settings import get_settings
from kkbc.marts import models
from kkbc.nights.prepare import prepare
from kkbc.publishing import ForeignKey, PublishedModel, publish_marts, roll_back
from kkbc.warehouse import connect

BRANCHES = PublishedModel("dim_b", "bi", ("branch_id",))
OF_BRANCH = ForeignKey(("branch_id",), BRANCHES.name, BRANCHES.primary_key)
MARTS = [PublishedModel(f"kpi_{letter}", "bi", ("branch_id", "n"), (OF_BRANCH,)) for letter in "abcdefgh"]
FACTS = PublishedModel("fct_y", "bi_detail", ("token",))
# A row of each mart with that of the branch.
LOOK = " union all ".join(
    f"(select stamp from {mart.table} join bi.dim_b using (branch_id) where branch_id = 'KC044' and n = 7)"
    for mart in MARTS
)
DAY = date(2023, 12, 11)


def main() -> None:
    """Makes, publishes, reads and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365, help="rows a mart has of each branch (default 365)")
    parser.add_argument("--facts", type=int, default=300_000, help="rows of facts (default 300,000)")
    parser.add_argument("--publications", type=int, default=50)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
        os.environ["KKBC_HOME"] = str(Path(folder) / "home")
        get_settings.cache_clear()
        from kkbc_play.stack import down

        try:
            prepare()
            measured = measure(arguments)
        finally:
            down()
    if arguments.json:
        print(json.dumps(measured, indent=2))
    else:
        for name, value in measured.items():
            print(f"{name:<50} {value}")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures by name; times in seconds, waits in milliseconds."""
    models.published_models = lambda: [BRANCHES, *MARTS, FACTS]
    make(arguments.days, arguments.facts)
    found: dict[str, Any] = {"rows": sum(len(MARTS) * [122 * arguments.days]) + arguments.facts}
    found["first publication, s"] = timed(publish)
    found["nothing changed, s"] = timed(publish)
    with Readers(arguments.readers) as readers:
        time.sleep(10)
    found |= figures("alone", readers)
    seconds = []
    with Readers(arguments.readers) as readers:
        for number in range(2, arguments.publications + 2):
            stamp(number)
            seconds.append(timed(publish))
    found["publication of a night next to readers, s"] = round(median(seconds), 2)
    found |= figures("next to publications", readers)
    found["rollback of one, s"] = timed(undo)
    found["rollback of ten, s"] = timed(lambda: undo(arguments.publications - 8))
    for shown, table in (("a mart", "kpi_b"), ("a dimension", "dim_b")):
        with Readers(arguments.readers) as readers:
            seconds = []
            for number in range(5):
                change(f"alter table next.{table} add column x{number} int")
                seconds.append(timed(publish))
        found[f"publication of {shown} of a new shape next to readers, s"] = round(median(seconds), 2)
        found |= figures(f"next to new shapes of {shown}", readers)
    return found


def make(days: int, facts: int) -> None:
    """Branches, their marts and facts in the hidden schema."""
    change(
        "create table next.dim_b as select 'KC' || lpad(b::text, 3, '0') as branch_id, b as tier"
        " from generate_series(1, 122) b",
        "alter table next.dim_b alter branch_id set not null",
    )
    for mart in MARTS:
        change(
            f"create table next.{mart.name} as select 'KC' || lpad(b::text, 3, '0') as branch_id, n, 1 as stamp,"
            " b * n as registrations, b * n * 1000 as contributions_idr, b / (n + 1.0)::float8 as rate"
            f" from generate_series(1, 122) b, generate_series(1, {days}) n",
            f"alter table next.{mart.name} alter branch_id set not null, alter n set not null",
        )
    change(
        "create table next.fct_y as select md5(n::text) as token, n as amount, 'KC001' as branch_id, now() as at,"
        f" n % 12 as months from generate_series(1, {facts}) n",
        "alter table next.fct_y alter token set not null",
    )


def stamp(number: int) -> None:
    """A night: the last month of each mart is another, and 3% of the facts; the row that readers look at, always."""
    change(
        *(f"update next.{mart.name} set stamp = {number} where n <= 30" for mart in MARTS),
        f"update next.fct_y set months = months + 1 where amount % 33 = {number % 33}",
    )


def change(*statements: str) -> None:
    """Changes what is built."""
    with connect("transformer") as conn:
        for statement in statements:
            conn.execute(statement)  # type: ignore[arg-type]


def publish() -> None:
    """Publishes it."""
    with connect("transformer") as conn:
        row = conn.execute(
            "insert into ops.build (as_of, first_business_date) values (%s, %s) returning build_id", [DAY, DAY]
        ).fetchone()
        assert row is not None
    with connect("publisher") as conn:
        publish_marts(conn, build_id=row[0], as_of=DAY)


def undo(to: int | None = None) -> None:
    """Rolls back."""
    with connect("publisher") as conn:
        roll_back(conn, to=to, why="bench", who="bench")


def timed(work: Any) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    work()
    return round(time.perf_counter() - begun, 2)


class Readers:
    """Readers in processes of their own, for as long as the block; `result` holds what they saw, after it."""

    def __init__(self, readers: int) -> None:
        self.enough = multiprocessing.Event()
        self.pool = multiprocessing.Pool(readers + 1, _share, [self.enough])
        self.pending = [self.pool.apply_async(look) for _ in range(readers)]
        self.pending.append(self.pool.apply_async(watch))
        self.result: list[dict[str, Any]] = []
        self.longest_wait = 0.0

    def __enter__(self) -> "Readers":
        time.sleep(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        *self.result, self.longest_wait = [pending.get(60) for pending in self.pending]
        self.pool.close()
        self.pool.join()


_enough: Event


def _share(enough: Event) -> None:
    global _enough
    _enough = enough


def look() -> dict[str, Any]:
    """One reader, until it is enough: milliseconds of each look, how many saw a mixture, and errors."""
    waits, mixtures, errors = [], 0, 0
    with connect("bi", autocommit=True) as conn:
        while not _enough.is_set():
            begun = time.perf_counter()
            try:
                seen = set(conn.execute(LOOK).fetchall())  # type: ignore[arg-type]
            except Exception:
                errors += 1
                continue
            waits.append((time.perf_counter() - begun) * 1000)
            mixtures += len(seen) != 1
            time.sleep(0.002)
    return {"waits": waits, "mixtures": mixtures, "errors": errors}


def watch() -> float:
    """The longest that a reader was seen to wait for a lock, in milliseconds."""
    longest = 0.0
    with connect("auditor", autocommit=True) as conn:
        while not _enough.is_set():
            row = conn.execute(
                "select coalesce(max(extract(epoch from clock_timestamp() - l.waitstart)), 0)::float8 * 1000"
                " from pg_locks l join pg_stat_activity a using (pid)"
                " where not l.granted and a.application_name = 'kkbc bi'"
            ).fetchone()
            longest = max(longest, row[0] if row else 0.0)
            time.sleep(0.002)
    return longest


def figures(when: str, readers: Readers) -> dict[str, Any]:
    """The figures of some readers."""
    results = readers.result
    waits = sorted(wait for result in results for wait in result["waits"])
    return {
        f"looks {when}": len(waits),
        f"errors {when}": sum(result["errors"] for result in results),
        f"mixtures {when}": sum(result["mixtures"] for result in results),
        f"look {when}, median ms": round(median(waits), 2),
        f"look {when}, 99.9 % ms": round(waits[int(len(waits) * 0.999)], 1),
        f"slowest look {when}, ms": round(waits[-1], 1),
        f"longest wait for a lock {when}, ms": round(readers.longest_wait, 1),
    }


if __name__ == "__main__":
    main()
