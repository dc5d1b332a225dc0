"""Totals per branch and month, before and after a publication: what changed for whom."""

from typing import Any

from psycopg import sql

from kkbc.publishing.work import Work, name

MART = "kpi_branch_daily"
# Summed over the days of the month.
FLOWS = ("registrations", "acquisitions", "reactivations", "contributions_idr", "activities", "contacts", "quarantined")
# As they stand on the last day of the month that there is.
STOCKS = ("aktif", "menunggak", "non_aktif", "belum_aktif")


def take(work: Work) -> None:
    """Puts the totals of what readers see aside, for `changed` to compare with, to the end of the transaction."""
    work.conn.execute(sql.SQL("create temporary table totals_before on commit drop as {}").format(_totals(work, "bi")))


def changed(work: Work) -> list[dict[str, Any]]:
    """Totals that differ now from those that `take` put aside, by branch and month."""
    return _compared(work, sql.SQL("table totals_before"), _totals(work, "bi"))


def foreseen(work: Work, source: str, keys: sql.Identifier | None = None) -> list[dict[str, Any]]:
    """Totals that differ between what readers see and schema `source`, by branch and month.

    keys: a table of all keys of the mart whose rows can differ; without it all months are compared.
    """
    return _compared(work, _totals(work, "bi", keys), _totals(work, source, keys))


def store(work: Work, publication_id: int, differing: list[dict[str, Any]]) -> None:
    """Stores the differences of a publication."""
    with work.conn.cursor() as cursor:
        cursor.executemany(
            "insert into ops.publication_diff (publication_id, branch_id, month, metric, before, after)"
            " values (%(publication_id)s, %(branch_id)s, %(month)s, %(metric)s, %(before)s, %(after)s)",
            [{"publication_id": publication_id, **row} for row in differing],
        )


def _compared(work: Work, before: sql.Composable, after: sql.Composable) -> list[dict[str, Any]]:
    cursor = work.conn.execute(
        sql.SQL(
            "select branch_id, month, metric, b.total, a.total from ({before}) b full join ({after}) a"
            " using (branch_id, month, metric) where b.total is distinct from a.total order by 1, 2, 3"
        ).format(before=before, after=after)
    )
    columns = ("branch_id", "month", "metric", "before", "after")
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _totals(work: Work, schema: str, keys: sql.Identifier | None = None) -> sql.Composable:
    """The query of the totals of a schema, of the metrics that its mart has; of none when there is no such mart.

    keys: a table of keys of the mart, of whose branches and months the totals are.
    """
    rows = work.rows(
        "select attname::text from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
        [f"{schema}.{MART}"],
    )
    columns = {column for (column,) in rows}
    flows, stocks = ([column for column in group if column in columns] for group in (FLOWS, STOCKS))
    if not (flows or stocks) or not {"branch_id", "business_date"} <= columns:
        return sql.SQL("select null::text branch_id, null::date as month, null::text metric, 0::numeric total limit 0")
    totals = [sql.SQL("sum({})::numeric").format(sql.Identifier(c)) for c in flows]
    last = sql.SQL("(array_agg({} order by business_date desc))[1]::numeric")
    totals += [last.format(sql.Identifier(c)) for c in stocks]
    months = sql.SQL(
        " join (select distinct branch_id, date_trunc('month', business_date)::date as month from {keys}) k"
        " on m.branch_id = k.branch_id"
        " and m.business_date >= k.month and m.business_date < k.month + interval '1 month'"
    )
    return sql.SQL(
        "select branch_id, month, metric, total"
        " from (select m.branch_id, date_trunc('month', business_date)::date as month,"
        " array[{metrics}] as metrics, array[{totals}] as totals from {mart} m{months} group by 1, 2) of_month"
        " cross join unnest(metrics, totals) as t (metric, total)"
    ).format(
        months=months.format(keys=keys) if keys else sql.SQL(""),
        metrics=sql.SQL(", ").join(sql.Literal(c) for c in (*flows, *stocks)),
        totals=sql.SQL(", ").join(totals),
        mart=name(schema, MART),
    )
