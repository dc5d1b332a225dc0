-- The nation, from the month before on: a row a day, a row for each additive measure of a day next to the sum of the
-- branches, a row for each whole month next to the month before, and one for the mart as a whole.
with since as (
    select greatest(day, first_business_date) as day, as_of, first_business_date
    from audit.since
    cross join audit.build
),

-- Those that registered, or are covered, by the last day.
known as (
    select
        count(*) filter (
            where participant.first_registered_on is not null
            or coverage.coverage_start <= (select as_of from since)
        ) as participants
    from next.dim_participant as participant
    left join next.fct_coverage as coverage
        on
            participant.first_registered_on is null
            and participant.participant_token = coverage.participant_token and coverage.interval_no = 1
),

days as (
    select
        cast(mart.business_date as text) as slice,
        mart.*,
        aktif + menunggak + non_aktif + belum_aktif as participants,
        case when business_date = as_of then known.participants end as known_participants,
        case when business_date = as_of then cast(branches_reported as float8) / nullif(branches_expected, 0) end
            as reported_share,
        case when lag(aktif) over by_day >= 1000 then cast(aktif as float8) / lag(aktif) over by_day end
            as active_day_on_day
    from next.kpi_national_daily as mart
    inner join since on mart.business_date >= since.day
    cross join known
    window by_day as (order by business_date)
),

sums as (
    select
        business_date,
        sum(branches_expected) as branches_expected,
        sum(branches_reported) as branches_reported,
        sum(registrations) as registrations,
        sum(acquisitions) as acquisitions,
        sum(reactivations) as reactivations,
        sum(aktif) as aktif,
        sum(menunggak) as menunggak,
        sum(non_aktif) as non_aktif,
        sum(belum_aktif) as belum_aktif,
        sum(contributions_idr) as contributions_idr
    from next.kpi_branch_daily
    where business_date >= (select day from since)
    group by business_date
),

measures as (
    select
        measure.name || '/' || cast(business_date as text) as slice,
        coalesce(measure.national, 0) as national,
        coalesce(measure.branches, 0) as branches
    from days as nation
    full join sums as branch using (business_date)
    cross join lateral (
        values
        ('branches_expected', nation.branches_expected, branch.branches_expected),
        ('branches_reported', nation.branches_reported, branch.branches_reported),
        ('registrations', nation.registrations, branch.registrations),
        ('acquisitions', nation.acquisitions, branch.acquisitions),
        ('reactivations', nation.reactivations, branch.reactivations),
        ('aktif', nation.aktif, branch.aktif),
        ('menunggak', nation.menunggak, branch.menunggak),
        ('non_aktif', nation.non_aktif, branch.non_aktif),
        ('belum_aktif', nation.belum_aktif, branch.belum_aktif),
        ('contributions_idr', nation.contributions_idr, branch.contributions_idr)
    ) as measure (name, national, branches)
),

months as (
    select
        measure.name || '/' || to_char(date_trunc('month', business_date), 'YYYY-MM') as slice,
        case
            when lag(sum(amount)) over by_month >= 100 then cast(sum(amount) as float8) / lag(sum(amount)) over by_month
        end as month_on_month
    from next.kpi_national_daily
    cross join since
    cross join
        lateral (
            values
            ('registrations', registrations), ('acquisitions', acquisitions), ('contributions_idr', contributions_idr)
        ) as measure (name, amount)
    where
        date_trunc('month', business_date) >= since.first_business_date
        and date_trunc('month', business_date) + interval '1 month' <= since.as_of + 1
        and business_date >= date_trunc('month', since.as_of) - interval '3 months'
    group by measure.name, date_trunc('month', business_date)
    window by_month as (partition by measure.name order by date_trunc('month', business_date))
),

whole as (
    select
        'kpi_national_daily' as slice,
        (select count(*) from next.kpi_national_daily) as rows,
        as_of - first_business_date + 1 as wanted_rows,
        (select min(business_date) from next.kpi_national_daily) as first_day,
        (select max(business_date) from next.kpi_national_daily) as last_day,
        first_business_date,
        as_of
    from since
)

select
    slice, business_date, branches_expected, branches_reported, registrations, acquisitions, reactivations,
    contributions_idr, participants, known_participants, activation_rate_30d, attainment_mtd, reported_share,
    active_day_on_day, national, branches, month_on_month,
    rows, wanted_rows, first_day, last_day, whole.first_business_date, whole.as_of
from days
full join measures using (slice)
full join months using (slice)
full join whole using (slice)
