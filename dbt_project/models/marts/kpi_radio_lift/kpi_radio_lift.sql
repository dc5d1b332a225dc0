-- Registrations of a spot day and the two after it against the same weekdays of the 4 weeks before (KPI rule 13).
with activities as (
    select * from {{ ref('int_activities_deduplicated') }}
),

registrations as (
    select * from {{ ref('int_cells_counted') }}
    where measure = 'registrations'
),

slices as (
    select * from {{ ref('stg_slices') }}
    where feed = 'pendaftaran' and status = 'loaded'
),

spots as (
    select distinct
        branch_id,
        started_on as spot_date
    from activities
    where activity_type = 'RADIO'
),

registered as (
    select
        branch_id,
        day as registered_on,
        sum(amount) as registrations
    from registrations
    group by branch_id, day
),

observations as (
    select
        spots.branch_id,
        spots.spot_date,
        sum(registered.registrations) as registrations
    from spots
    inner join registered
        on
            spots.branch_id = registered.branch_id
            and registered.registered_on between spots.spot_date and {{ add_days('spots.spot_date', 2) }}
    group by spots.branch_id, spots.spot_date
),

baseline_days as (
    select
        spots.branch_id,
        spots.spot_date,
        weeks.week,
        {{ add_days('spots.spot_date', 'days.i - 7 * weeks.week') }} as day
    from spots
    cross join (values (1), (2), (3), (4)) as weeks (week)
    cross join (values (0), (1), (2)) as days (i)
),

-- Days that another spot may have lifted, and days of which nothing is known, say nothing of a usual day.
usual_days as (
    select
        baseline_days.branch_id,
        baseline_days.spot_date,
        baseline_days.week,
        coalesce(registered.registrations, 0) as registrations
    from baseline_days
    inner join slices
        on baseline_days.branch_id = slices.branch_id and baseline_days.day = slices.business_date
    left join registered
        on baseline_days.branch_id = registered.branch_id and baseline_days.day = registered.registered_on
    where
        not exists (
            select 1
            from spots as others
            where
                others.branch_id = baseline_days.branch_id
                and others.spot_date <> baseline_days.spot_date
                and baseline_days.day between others.spot_date and {{ add_days('others.spot_date', 2) }}
        )
),

baselines as (
    select
        branch_id,
        spot_date,
        {{ ratio('3 * sum(registrations)', 'count(*)') }} as baseline
    from usual_days
    group by branch_id, spot_date
    having count(distinct week) >= 2
),

compared as (
    select
        spots.branch_id,
        spots.spot_date,
        {{ add_days('spots.spot_date', 2) }} <= {{ as_of() }} as is_over,
        coalesce(observations.registrations, 0) as observed,
        baselines.baseline
    from spots
    left join observations
        on spots.branch_id = observations.branch_id and spots.spot_date = observations.spot_date
    left join baselines
        on spots.branch_id = baselines.branch_id and spots.spot_date = baselines.spot_date
)

select
    branch_id,
    spot_date,
    cast(case when is_over then observed end as bigint) as observed,
    case when is_over then baseline end as baseline,
    case when is_over then {{ ratio('observed', 'baseline') }} end as lift
from compared
