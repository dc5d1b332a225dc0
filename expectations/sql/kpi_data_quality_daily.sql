-- Each slice as the mart judges it, from the month before on, next to the slice in force as loaded; and the mart as a
-- whole.
with since as (
    select greatest(day, first_business_date) as day, as_of, first_business_date
    from audit.since
    cross join audit.build
),

loaded as (
    select feed, branch_id, business_date, rows_accepted as loaded_accepted, rows_quarantined as loaded_quarantined
    from ops.slice
    cross join since
    where
        slice.status = 'loaded'
        and slice.feed in (
            select feed from ops.feed
            where sender = 'branch'
        )
        and slice.business_date between since.day and since.as_of
        and slice.branch_id not in (select branch_id from audit.branches_ahead)
),

judged as (
    select
        feed || '/' || branch_id || '/' || cast(business_date as text) as slice,
        mart.status,
        mart.rows_sent,
        mart.rows_accepted + mart.rows_quarantined as rows_accounted_for,
        mart.rows_accepted,
        mart.rows_quarantined,
        mart.valid_nik_rate,
        mart.contactable_rate,
        loaded.loaded_accepted,
        loaded.loaded_quarantined
    from (
        select *
        from next.kpi_data_quality_daily
        where business_date >= (select day from since)
    ) as mart
    full join loaded using (feed, branch_id, business_date)
),

-- The days that slices of a feed are expected of a branch, on both of which it has one.
expected as materialized (
    select
        feeds.feed,
        branch.branch_id,
        greatest(since.first_business_date, feeds.expected_from, branch.active_from) as first_day,
        least(since.as_of, branch.active_to) as last_day
    from ops.branch
    inner join ops.feed as feeds on feeds.sender = 'branch'
    cross join since
),

whole as (
    select
        'kpi_data_quality_daily' as slice,
        'on_time' as status,
        (select count(*) from next.kpi_data_quality_daily) as rows,
        (
            -- Expected of a branch that was active, ...
            select coalesce(sum(greatest(last_day - first_day + 1, 0)), 0)
            from expected
        ) + (
            -- ... or come unexpected.
            select count(*)
            from (
                select distinct
                    slice.feed,
                    slice.branch_id,
                    slice.business_date
                from ops.slice
                inner join ops.feed as feeds on slice.feed = feeds.feed and feeds.sender = 'branch'
                left join expected on slice.feed = expected.feed and slice.branch_id = expected.branch_id
                where
                    slice.business_date between since.first_business_date and since.as_of
                    and (slice.business_date between expected.first_day and expected.last_day) is not true
                    and (
                        slice.build_id <= (select audit.build_id())
                        or slice.load_id <= (select load_id from audit.build)
                    )
            ) as unexpected
        ) as wanted_rows,
        (select max(business_date) from next.kpi_data_quality_daily) as last_day,
        since.as_of
    from since
)

select *
from judged
full join whole using (slice, status)
