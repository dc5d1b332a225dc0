-- The reasons of each slice, from the month before on, and their sum next to the rows that were quarantined.
with reasons as (
    select *
    from next.quarantine_reasons_daily
    where business_date >= (select day from audit.since)
),

sums as (
    select
        feed || '/' || branch_id || '/' || cast(business_date as text) as slice,
        quality.rows_quarantined,
        coalesce(sum(reasons.rows), 0) as rows_of_all_reasons,
        coalesce(max(reasons.rows), 0) as rows_of_commonest_reason
    from (
        select feed, branch_id, business_date, rows_quarantined
        from next.kpi_data_quality_daily
        where business_date >= (select day from audit.since)
    ) as quality
    full join reasons using (feed, branch_id, business_date)
    where
        feed in (
            select feed from ops.feed
            where sender = 'branch'
        )
    group by feed, branch_id, business_date, quality.rows_quarantined
),

codes as (
    select
        feed || '/' || branch_id || '/' || cast(business_date as text) || '/' || audit.code(code) as slice,
        audit.code(code) as code,
        rows
    from reasons
)

select *
from sums
full join codes using (slice)
