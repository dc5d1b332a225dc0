-- Branch by branch, from the month before on: a row a day, with what the facts say of the days that the new slices are
-- of; a row for each whole month next to the month before; and one for the mart as a whole.
with since as (
    select greatest(day, first_business_date) as day, as_of, first_business_date
    from audit.since
    cross join audit.build
),

touched as (
    select distinct business_date
    from audit.slices
    cross join since
    where slices.business_date between since.first_business_date and since.as_of
),

registered as (
    select branch_id, registered_on as business_date, count(*) as fact_registrations
    from next.fct_registration
    where registered_on = any(array(select business_date from touched))
    group by branch_id, registered_on
),

paid as (
    select branch_id, paid_on as business_date, sum(total_amount) as fact_idr
    from next.fct_contribution
    where paid_on = any(array(select business_date from touched))
    group by branch_id, paid_on
),

days as (
    select
        branch_id || '/' || cast(business_date as text) as slice,
        mart.*,
        case when touched.business_date is not null then coalesce(registered.fact_registrations, 0) end
            as fact_registrations,
        case when touched.business_date is not null then coalesce(paid.fact_idr, 0) end as fact_idr
    from (
        select *
        from next.kpi_branch_daily
        where business_date >= (select day from since)
    ) as mart
    full join registered using (branch_id, business_date)
    full join paid using (branch_id, business_date)
    left join touched using (business_date)
),

months as (
    select
        branch_id || '/' || measure.name || '/' || to_char(date_trunc('month', business_date), 'YYYY-MM') as slice,
        case
            when lag(sum(events)) over by_month >= 100
                then cast(sum(amount) as float8) / nullif(lag(sum(amount)) over by_month, 0) / audit.leniency(branch_id)
        end as month_on_month
    from next.kpi_branch_daily
    cross join since
    cross join
        lateral (
            values
            ('registrations', registrations, registrations), ('contributions_idr', contributions_idr, registrations)
        ) as measure (name, amount, events)
    where
        date_trunc('month', business_date) >= since.first_business_date
        and date_trunc('month', business_date) + interval '1 month' <= since.as_of + 1
        and business_date >= date_trunc('month', since.as_of) - interval '2 months'
    group by branch_id, measure.name, date_trunc('month', business_date)
    window by_month as (partition by branch_id, measure.name order by date_trunc('month', business_date))
),

whole as (
    select
        'kpi_branch_daily' as slice,
        (select count(*) from next.kpi_branch_daily) as rows,
        (as_of - first_business_date + 1) * (
            -- Of the registry ...
            (select count(*) from ops.branch)
            -- ... or delivered once.
            + (
                select count(distinct slice.branch_id)
                from ops.slice
                where
                    slice.branch_id not in (select branch_id from ops.branch)
                    and slice.feed in (
                        select feed from ops.feed
                        where sender = 'branch'
                    )
                    and slice.business_date <= since.as_of
                    and (
                        slice.build_id <= (select audit.build_id())
                        or slice.load_id <= (select load_id from audit.build)
                    )
            )
        ) as wanted_rows,
        (select min(business_date) from next.kpi_branch_daily) as first_day,
        (select max(business_date) from next.kpi_branch_daily) as last_day,
        first_business_date,
        as_of
    from since
)

select
    slice, registrations, fact_registrations, contributions_idr, fact_idr, branches_expected, branches_reported, aktif,
    menunggak, non_aktif, belum_aktif, acquisitions, reactivations, repeat_registrations, slices_late,
    activation_rate_30d, attainment_mtd, month_on_month,
    rows, wanted_rows, first_day, last_day, whole.first_business_date, whole.as_of
from days
full join months using (slice)
full join whole using (slice)
