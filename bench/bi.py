"""Times the queries that the marts are for: `KKBC_HOME=DIR python bench/bi.py`.

On an installation that is there, built by `bench/growth.py --home` or any other; its server is started and stopped if
need be, and nothing of it is changed. Each query is asked with other branches, days and months each time, planned anew
as by a BI tool: as role bi or analyst, and what a branch may see as the login of a branch, under row-level security.
Prints p50, p95 and the slowest in milliseconds, and the rows of the largest answer.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

READER = "bench_bi_reader"


@dataclass(frozen=True)
class Query:
    """A query with its parameters; `facts`: of bi_detail, which role analyst reads and no branch."""

    name: str
    text: str
    facts: bool = False


QUERIES = [
    # dashboard_national
    Query(
        "national: the month to date",
        "select * from bi.kpi_national_daily where business_date between %(month)s and %(day)s",
    ),
    Query(
        "national: a year by month",
        "select date_trunc('month', business_date) as month, sum(registrations), sum(acquisitions),"
        " sum(contributions_idr)"
        " from bi.kpi_national_daily where business_date > %(day)s::date - 365 group by 1 order by 1",
    ),
    Query(
        "regional offices: the month to date",
        "select d.kanwil_name, sum(k.registrations), sum(k.acquisitions), sum(k.contributions_idr),"
        " sum(k.aktif) filter (where k.business_date = %(day)s)"
        " from bi.kpi_branch_daily k join bi.dim_branch d using (branch_id)"
        " where k.business_date between %(month)s and %(day)s group by 1 order by 3 desc",
    ),
    Query(
        "branches: ranking of a day",
        "select k.branch_id, d.branch_name, k.acquisitions, k.attainment_mtd,"
        " rank() over (order by k.attainment_mtd desc nulls last)"
        " from bi.kpi_branch_daily k join bi.dim_branch d using (branch_id) where k.business_date = %(day)s",
    ),
    Query(
        "branches: ranking of a month",
        "select t.*, d.branch_name, d.kanwil_name from bi.kpi_target_monthly t join bi.dim_branch d using (branch_id)"
        " where t.month = %(month)s order by d.kanwil_id, t.rank",
    ),
    # dashboard_branch
    Query(
        "a branch: 90 days",
        "select * from bi.kpi_branch_daily where branch_id = %(branch)s"
        " and business_date between %(day)s::date - 89 and %(day)s order by business_date",
    ),
    Query(
        "a branch: its targets, all months",
        "select * from bi.kpi_target_monthly where branch_id = %(branch)s order by month",
    ),
    # dashboard_channels
    Query(
        "channels of a branch: 90 days",
        "select k.channel_code, c.name_id, sum(registrations), sum(acquisitions), sum(activated_30d)"
        " from bi.kpi_channel_daily k join bi.dim_channel c using (channel_code) where k.branch_id = %(branch)s"
        " and k.business_date between %(day)s::date - 89 and %(day)s group by 1, 2",
    ),
    Query(
        "channels nationwide: a month",
        "select channel_code, sum(registrations), sum(acquisitions),"
        " sum(activation_days_sum)::numeric / nullif(sum(activation_days_count), 0)"
        " from bi.kpi_channel_daily where business_date between %(month)s and %(day)s group by 1 order by 2 desc",
    ),
    Query(
        "channels nationwide: a year by month",
        "select date_trunc('month', business_date), channel_code, sum(registrations), sum(acquisitions)"
        " from bi.kpi_channel_daily where business_date > %(day)s::date - 365 group by 1, 2",
    ),
    Query(
        "activities: those of a branch and month",
        "select * from bi.kpi_activity k join bi.dim_activity a using (branch_id, activity_code)"
        " where k.branch_id = %(branch)s and a.started_on between %(month)s and %(day)s order by k.acquisitions desc",
    ),
    Query(
        "activities nationwide: cost by type, a month",
        "select k.type, count(*), sum(k.cost), sum(k.registrations), sum(k.cost) / nullif(sum(k.acquisitions), 0)"
        " from bi.kpi_activity k join bi.dim_activity a using (branch_id, activity_code)"
        " where a.started_on between %(month)s and %(day)s group by 1",
    ),
    Query(
        "radio lift: spots of 90 days",
        "select branch_id, count(*), avg(lift) from bi.kpi_radio_lift"
        " where spot_date between %(day)s::date - 89 and %(day)s group by 1 order by 3 desc nulls last",
    ),
    # dashboard_participants
    Query(
        "retention: one cohort by branch",
        "select branch_id, month_n, sum(cohort_size), sum(covered)::numeric / nullif(sum(cohort_size), 0)"
        " from bi.kpi_retention where cohort_month = %(month)s group by 1, 2",
    ),
    Query(
        "retention: all cohorts by channel",
        "select cohort_month, channel_code, month_n, sum(covered), sum(cohort_size) from"
        " bi.kpi_retention group by 1, 2, 3",
    ),
    Query(
        "occupations: a month nationwide",
        "select o.name_id, sum(k.registrations), sum(k.acquisitions), sum(k.aktif)"
        " from bi.kpi_occupation_monthly k join bi.dim_occupation o using (occupation_code)"
        " where k.month = %(month)s group by 1 order by 2 desc",
    ),
    # dashboard_coverage, dashboard_data_quality
    Query(
        "coverage: provinces at the last month end",
        "select * from bi.kpi_coverage_province where month_end = (select max(month_end) from"
        " bi.kpi_coverage_province)",
    ),
    Query(
        "data quality: a day",
        "select * from bi.kpi_data_quality_daily where business_date = %(day)s order by branch_id, feed",
    ),
    Query(
        "data quality: late and missing by branch, 90 days",
        "select branch_id, status, count(*) from bi.kpi_data_quality_daily"
        " where business_date between %(day)s::date - 89 and %(day)s and status <> 'on_time' group by 1, 2",
    ),
    Query(
        "data quality: outstanding slices of all days",
        "select branch_id, feed, business_date, status from bi.kpi_data_quality_daily where status in"
        " ('missing', 'rejected')",
    ),
    Query(
        "quarantine: reasons of 30 days",
        "select code, sum(rows) from bi.quarantine_reasons_daily"
        " where business_date between %(day)s::date - 29 and %(day)s group by 1 order by 2 desc",
    ),
    # exploration
    Query(
        "contribution: by its key",
        "select * from bi_detail.fct_contribution where branch_id = %(branch)s and payment_id = %(payment)s",
        True,
    ),
    Query(
        "contributions of a participant",
        "select * from bi_detail.fct_contribution where participant_token = %(token)s",
        True,
    ),
    Query(
        "coverage of a participant", "select * from bi_detail.fct_coverage where participant_token = %(token)s", True
    ),
    Query(
        "registrations of a participant",
        "select * from bi_detail.fct_registration where participant_token = %(token)s",
        True,
    ),
    Query(
        "contributions of a branch: a month by channel",
        "select payment_channel, count(*), sum(total_amount) from bi_detail.fct_contribution"
        " where branch_id = %(branch)s and paid_on between %(month)s and %(day)s group by 1",
        True,
    ),
    Query(
        "contributions nationwide: a month by channel",
        "select payment_channel, count(*), sum(total_amount) from bi_detail.fct_contribution"
        " where paid_on between %(month)s and %(day)s group by 1",
        True,
    ),
    Query(
        "acquisitions nationwide: a month by officer",
        "select branch_id, officer_code, count(*) from bi_detail.fct_acquisition"
        " where activated_on between %(month)s and %(day)s group by 1, 2 order by 3 desc limit 100",
        True,
    ),
    Query(
        "registrations of a branch: a month by occupation",
        "select occupation_code, count(*) from bi_detail.fct_registration"
        " where branch_id = %(branch)s and registered_on between %(month)s and %(day)s group by 1",
        True,
    ),
]


def main() -> None:
    """Asks each query of each reader, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=50, help="repetitions of each query (default 50)")
    parser.add_argument("--only", default="", help="queries whose name contains this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    chosen = [query for query in QUERIES if arguments.only in query.name]
    with running():
        measured = measure(chosen, arguments.repeat)
    if arguments.json:
        print(json.dumps(measured, indent=2))
        return
    print(f"{arguments.repeat} repetitions, load {os.getloadavg()[0]:.1f}")
    print(f"{'query':<52}{'reader':<10}{'p50':>8}{'p95':>8}{'max':>8}{'rows':>8}")
    for row in measured:
        figures = "".join(f"{row[name]:>8.1f}" for name in ("p50", "p95", "max"))
        print(f"{row['query']:<52}{row['reader']:<10}{figures}{row['rows']:>8}")
    print(f"slowest p95: {max(row['p95'] for row in measured):.1f} ms")


@contextmanager
def running() -> Iterator[None]:
    """The server of KKBC_HOME for the length of a block, unless another one is configured or it runs anyway."""
    from kkbc.core.settings import get_settings
    from kkbc.warehouse import server

    home, needed = get_settings().home, not get_settings().database_url
    started = needed and server.find(home) is None
    if started and not (home / "pg").is_dir():
        raise SystemExit(f"{home} has no warehouse: set KKBC_HOME to an installation, as bench/growth.py --home makes")
    if started:
        server.start(home)
    try:
        yield
    finally:
        if started:
            server.stop(home)


def measure(queries: list[Query], repeat: int) -> list[dict[str, Any]]:
    """Milliseconds of each query as each reader that may ask it."""
    from kkbc.warehouse import connect

    found = []
    with connect() as conn:
        # As a BI tool does, which sends text.
        conn.prepare_threshold = None
        choices = _choices(conn)
        for reader in ("analyst", "bi", "branch"):
            with conn.transaction(force_rollback=True):
                branch = _become(conn, reader, choices)
                for query in queries:
                    if query.facts == (reader == "analyst"):
                        found.append(_timed(conn, query, reader, repeat, choices, branch))
    return sorted(found, key=lambda row: [query.name for query in queries].index(row["query"]))


def _choices(conn: psycopg.Connection) -> dict[str, list[Any]]:
    """What parameters are drawn from: as much as there is of it, days of the last year."""

    def column(query: str) -> list[Any]:
        return [value for (value,) in conn.execute(query).fetchall()]  # type: ignore[arg-type]

    last = column("select max(business_date) from bi.kpi_national_daily")[0]
    return {
        "branch": column("select distinct branch_id from bi.kpi_branch_daily order by 1"),
        "day": column(f"select business_date from bi.kpi_national_daily where business_date > date '{last}' - 365"),
        "payment": conn.execute(
            "select branch_id, payment_id, participant_token from bi_detail.fct_contribution tablesample system (1)"
            " limit 1000"
        ).fetchall(),
    }


def _become(conn: psycopg.Connection, reader: str, choices: dict[str, list[Any]]) -> str | None:
    """Makes the rest of the transaction that of a reader; returns the branch it is of."""
    if reader != "branch":
        conn.execute(f"set local role {reader}")  # type: ignore[arg-type]
        return None
    branch = str(random.Random(2).choice(choices["branch"]))
    conn.execute(f"create role {READER} login in role branch_bi")  # type: ignore[arg-type]
    conn.execute(
        "insert into readers.branch_reader (reader, branch_id, granted_by) values (%s, %s, 'bench')", [READER, branch]
    )
    conn.execute(f"set local session authorization {READER}")  # type: ignore[arg-type]
    return branch


def _timed(
    conn: psycopg.Connection, query: Query, reader: str, repeat: int, choices: dict[str, list[Any]], own: str | None
) -> dict[str, Any]:
    dice, spent, most = random.Random(query.name), [], 0
    for _ in range(repeat):
        parameters = _drawn(dice, choices, own)
        began = time.perf_counter()
        rows = conn.execute(query.text, parameters).fetchall()  # type: ignore[arg-type]
        spent.append((time.perf_counter() - began) * 1000)
        most = max(most, len(rows))
    return {"query": query.name, "reader": reader, **percentiles(spent), "rows": most}


def percentiles(spent: list[float]) -> dict[str, float]:
    """Median, 95th percentile and largest of some measurements."""
    ordered = sorted(spent)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return {"p50": ordered[len(ordered) // 2], "p95": p95, "max": ordered[-1]}


def _drawn(dice: random.Random, choices: dict[str, list[Any]], own: str | None) -> dict[str, Any]:
    """Parameters of one repetition."""
    day: date = dice.choice(choices["day"])
    branch, payment, token = dice.choice(choices["payment"])
    return {"day": day, "month": day.replace(day=1), "branch": own or branch, "payment": payment, "token": token}


if __name__ == "__main__":
    main()
