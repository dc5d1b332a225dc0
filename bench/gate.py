"""Times all gates of a night of national size: `python bench/gate.py`.

Rows of `--nights` nights (20,000 registrations and 240,000 contributions of 122 branches each) are written straight
into raw; all nights but the last are built as one and published, and the last is gated, built and gated again. Prints
the seconds of both audits beyond the import of Great Expectations, and those of aggregates written by hand over the
same slices.
"""

import argparse
import json
import os
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from kkbc.core.settings import get_settings

FIRST = date(2024, 1, 1)
REGISTRATIONS, CONTRIBUTIONS, ACTIVITIES = 164, 1967, 3

# Of branch b, day d and line n. A payment is one of a stock of participants, so that some come again each night.
ROWS = {
    "pendaftaran": (
        REGISTRATIONS,
        "insert into raw.registrations (_business_date, _branch_id, _revision, _line, _load_id, participant_token,"
        " registration_no, branch_id, registered_at, birth_year, sex, district_code, occupation_code,"
        " program_code, months_covered, channel_code, segment_code, record_status, updated_at)"
        " select d, b, 1, n, l, md5(b || 'p' || d || n), 'R' || d || '-' || n, b, d + time '09:00', 1990, 'P',"
        " '317206', 'NELAYAN', 'JKK_JKM', 1, (array['KANTOR', 'PASAR', 'RADIO', 'JMO'])[n %% 4 + 1],"
        " 'MANDIRI', 'BARU', d + time '09:00'",
    ),
    "iuran": (
        CONTRIBUTIONS,
        "insert into raw.contributions (_business_date, _branch_id, _revision, _line, _load_id, participant_token,"
        " payment_id, branch_id, paid_at, payment_channel, coverage_start, months_covered, program_code, jkk_amount,"
        " jkm_amount, jht_amount, total_amount, record_status, updated_at)"
        " select d, b, 1, n, l, md5(b || 's' || (n * 7 + extract(day from d)::int * 131) %% 9000),"
        " 'P' || d || '-' || n, b, d + time '10:00', 'BRI', d, 1, 'JKK_JKM', 10000, 6800, 0, 16800,"
        " 'BARU', d + time '10:00'",
    ),
    "kegiatan": (
        ACTIVITIES,
        "insert into raw.activities (_business_date, _branch_id, _revision, _line, _load_id, activity_code, branch_id,"
        " activity_type, started_at, ended_at, contacts, record_status, updated_at)"
        " select d, b, 1, n, l, 'A' || d || '-' || n, b, 'PASAR', d + time '08:00', d + time '11:00', 40,"
        " 'BARU', d + time '11:00'",
    ),
}

# What a data engineer would write by hand for the same slices: counts, keys, missing values, codes, sums, and the
# reconciliation of slices, facts and KPIs. Each is one statement.
BY_HAND = [
    "select branch_id, feed, rows_sent, rows_sent / (select percentile_cont(0.5) within group (order by e.rows_sent)"
    " from ops.slice e where (e.feed, e.branch_id) = (s.feed, s.branch_id) and e.status = 'loaded'"
    " and e.business_date = any (array(select s.business_date - 7 * w from generate_series(1, 8) w)))"
    " from ops.slice s where build_id = %(build)s",
    "select _branch_id, count(*), count(distinct registration_no), count(*) filter (where district_code is null),"
    " count(*) filter (where channel_code is null), count(*) filter (where months_covered < 0), "
    " array_agg(distinct sex), array_agg(distinct program_code), array_agg(distinct channel_code),"
    " max(registered_at), max(updated_at)"
    " from raw.registrations where _business_date = %(day)s group by 1",
    "select _branch_id, count(*), count(distinct payment_id), sum(total_amount),"
    " count(*) filter (where total_amount <> jkk_amount + jkm_amount + jht_amount), array_agg(distinct program_code),"
    " max(paid_at), max(updated_at) from raw.contributions where _business_date = %(day)s group by 1",
    "select _branch_id, count(*), count(distinct activity_code), sum(contacts) from raw.activities"
    " where _business_date = %(day)s group by 1",
    "select branch_id, count(*) from next.fct_registration where registered_on = %(day)s group by 1",
    "select branch_id, count(*), sum(total_amount) from next.fct_contribution where paid_on = %(day)s group by 1",
    "select business_date, sum(registrations), sum(contributions_idr), sum(aktif)"
    " from next.kpi_branch_daily group by 1",
    "select * from next.kpi_national_daily",
    "select branch_id, business_date, sum(registrations), sum(acquisitions) from next.kpi_channel_daily group by 1, 2",
    "select branch_id, feed, status, rows_accepted from next.kpi_data_quality_daily where business_date = %(day)s",
]


def main() -> None:
    """Generates, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=2, help="nights of rows, the last one measured (default 2)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as folder:
        os.environ["KKBC_HOME"] = str(Path(folder) / "home")
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        get_settings.cache_clear()
        from kkbc_play.stack import down

        try:
            measured = measure(Path(folder), arguments.nights)
        finally:
            down()
    if arguments.json:
        print(json.dumps(measured, indent=2))
        return
    for name, value in measured.items():
        print(f"{name:<32} {value:>12,.2f}" if isinstance(value, float) else f"{name:<32} {value:>12,}")


def measure(folder: Path, count: int) -> dict[str, Any]:
    """The measures of the last night."""
    import great_expectations  # noqa: F401 (what it costs to import is no cost of the gates)

    from kkbc import nights
    from kkbc.nights import RunRequest
    from kkbc.nights.prepare import prepare
    from kkbc.warehouse import connect

    prepare()
    last = FIRST + timedelta(days=count - 1)
    (folder / "branches").mkdir()
    build_id = 0
    for days in ([FIRST + timedelta(days=n) for n in range(count - 1)], [last]):
        run_id = f"until {days[-1]}"
        nights.open_run(
            RunRequest(days[-1], folder / "branches", first_business_date=FIRST), mode="plain", run_id=run_id
        )
        for day in days:
            write(day)
        build_id = nights.open_build(run_id)
        nights.build_layer(build_id, "seeds")
        slices, cpu_of_slices = timed(nights.audit_slices, build_id)
        nights.build_layer(build_id, "models")
        marts, cpu_of_marts = timed(nights.audit_marts, build_id)
        with connect() as conn:
            conn.execute("update ops.build set outcome = 'published' where build_id = %s", [build_id])
    with connect("auditor") as conn:
        began = time.perf_counter()
        for statement in BY_HAND:
            conn.execute(statement, {"day": last, "build": build_id}).fetchall()  # type: ignore[arg-type]
        by_hand = time.perf_counter() - began
        counts = conn.execute(
            "select count(*), count(*) filter (where not success and severity <> 'warn') from ops.expectation_result"
            " where build_id = %s",
            [build_id],
        ).fetchone()
        rows = conn.execute("select sum(rows_sent)::bigint from ops.slice where build_id = %s", [build_id]).fetchone()
    assert counts is not None
    assert rows is not None
    return {
        "rows of the night": rows[0],
        "expectations": counts[0],
        "not met": counts[1],
        "audit of slices, s": slices,
        "audit of marts, s": marts,
        "all gates, s": slices + marts,
        "of it CPU of this process, s": cpu_of_slices + cpu_of_marts,
        "aggregates by hand, s": by_hand,
        "ratio": (slices + marts) / by_hand,
    }


def write(day: date) -> None:
    """The slices and raw rows of all branches on a day, and on record the same weekday of 8 weeks before."""
    from kkbc.warehouse import connect

    with connect() as conn:
        conn.execute("select ops.ensure_partitions(%s)", [day])
        for feed, (count, insert) in ROWS.items():
            conn.execute(
                "insert into ops.slice (feed, branch_id, business_date, revision, status, sent_at, loaded_at,"
                " manifest_sha256, manifest_rows, rows_sent, rows_accepted, rows_nik_valid, rows_contactable, load_id,"
                " build_id) select %(feed)s, branch_id, %(day)s::date - 7 * week, 1, 'loaded',"
                " %(day)s::date - 7 * week + time '20:00', now(), 'x', %(n)s, %(n)s, %(n)s, %(n)s, %(n)s,"
                " nextval('ops.load_id'), null from ops.branch, generate_series(0, 8) as week on conflict do nothing",
                {"feed": feed, "day": day, "n": count},
            )
            conn.execute(
                f"{insert} from (select branch_id as b, business_date as d, load_id as l from ops.slice"
                f" where feed = %(feed)s and business_date = %(day)s) s, generate_series(1, {count}) as n",
                {"feed": feed, "day": day},
            )
        # The weeks before are custom, not deliveries of this night.
        conn.execute(
            "with old as (insert into ops.build (as_of, first_business_date, outcome, load_id)"
            " values (%(day)s, %(day)s, 'published', 0) returning build_id)"
            " update ops.slice set build_id = (select build_id from old) where business_date < %(day)s"
            " and build_id is null",
            {"day": day - timedelta(days=1)},
        )
    with connect(autocommit=True) as conn:
        conn.execute("analyze")


def timed(call: Any, *arguments: Any) -> tuple[float, float]:
    """Seconds of a call, and CPU seconds that this process spent on it."""
    began, spent = time.perf_counter(), time.process_time()
    call(*arguments)
    return time.perf_counter() - began, time.process_time() - spent


if __name__ == "__main__":
    main()
