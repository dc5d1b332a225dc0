-- Everything that the daily marts say of a branch and day as counts, with the two sides of each rate kept apart,
-- so that the national figures come from the same numbers.
with branch_days as (
    select * from {{ ref('int_branch_days_spread') }}
),

registrations as (
    select * from {{ ref('int_registrations_deduplicated') }}
),

acquisitions as (
    select * from {{ ref('int_acquisitions_credited') }}
),

coverage as (
    select * from {{ ref('int_coverage_merged') }}
),

attributions as (
    select * from {{ ref('int_participants_attributed') }}
),

stock_changes as (
    select * from {{ ref('int_stock_changes_counted') }}
),

contributions as (
    select * from {{ ref('int_contributions_deduplicated') }}
),

activities as (
    select * from {{ ref('int_activities_deduplicated') }}
),

slices as (
    select * from {{ ref('int_slices_judged') }}
),

targets as (
    select * from {{ ref('int_targets_deduplicated') }}
),

registered as (
    select
        branch_id,
        registered_on as business_date,
        count(*) as registrations,
        sum(case when is_repeat then 1 else 0 end) as repeat_registrations
    from registrations
    group by branch_id, registered_on
),

-- Acquisitions of the first month before the first day count in its month to date and in nothing else (KPI rule 2).
acquired as (
    select
        branch_id,
        greatest(activated_on, {{ first_business_date() }}) as business_date,
        sum(case when activated_on >= {{ first_business_date() }} then 1 else 0 end) as acquisitions,
        count(*) as acquisitions_of_month
    from acquisitions
    where activated_on >= {{ month_start(first_business_date()) }}
    group by branch_id, greatest(activated_on, {{ first_business_date() }})
),

-- KPI rule 6: a return belongs to the branch that the participant's status counts for on that day.
reactivated as (
    select
        attributions.branch_id,
        coverage.coverage_start as business_date,
        count(*) as reactivations
    from coverage
    inner join attributions
        on
            coverage.participant_token = attributions.participant_token
            and coverage.coverage_start >= attributions.valid_from
            and (attributions.valid_to is null or coverage.coverage_start < attributions.valid_to)
    where coverage.is_reactivation
    group by attributions.branch_id, coverage.coverage_start
),

-- Changes before the first day make up its opening stock.
stock_changed as (
    select
        branch_id,
        greatest(day, {{ first_business_date() }}) as business_date,
        sum(case when status = 'aktif' then change else 0 end) as aktif,
        sum(case when status = 'menunggak' then change else 0 end) as menunggak,
        sum(case when status = 'non_aktif' then change else 0 end) as non_aktif,
        sum(case when status = 'belum_aktif' then change else 0 end) as belum_aktif
    from stock_changes
    group by branch_id, greatest(day, {{ first_business_date() }})
),

paid as (
    select
        branch_id,
        paid_on as business_date,
        sum(total_amount) as contributions_idr
    from contributions
    group by branch_id, paid_on
),

-- KPI rule 8: by the first registration, 30 days later, whether coverage has started by then.
due as (
    select
        registrations.branch_id,
        {{ add_days('registrations.registered_on', 30) }} as business_date,
        count(*) as registrations_30d_due,
        sum(
            case when coverage.coverage_start <= {{ add_days('registrations.registered_on', 30) }} then 1 else 0 end
        ) as activated_30d
    from registrations
    left join coverage
        on registrations.participant_token = coverage.participant_token and coverage.interval_no = 1
    where registrations.is_first and registrations.registered_on >= {{ first_business_date() }}
    group by registrations.branch_id, registrations.registered_on
),

held as (
    select
        branch_id,
        started_on as business_date,
        count(*) as activities,
        sum(contacts) as contacts,
        sum(cost) as activity_cost_idr
    from activities
    group by branch_id, started_on
),

delivered as (
    select
        branch_id,
        business_date,
        max(case when is_in_force then 1 else 0 end) as reported,
        sum(rows_quarantined) as quarantined,
        sum(case when status = 'late' then 1 else 0 end) as slices_late
    from slices
    group by branch_id, business_date
)

select
    branch_days.branch_id,
    branch_days.business_date,
    case when branch_days.is_expected then 1 else 0 end as branches_expected,
    coalesce(delivered.reported, 0) as branches_reported,
    coalesce(registered.registrations, 0) as registrations,
    coalesce(acquired.acquisitions, 0) as acquisitions,
    coalesce(reactivated.reactivations, 0) as reactivations,
    coalesce(sum(stock_changed.aktif) over history, 0) as aktif,
    coalesce(sum(stock_changed.menunggak) over history, 0) as menunggak,
    coalesce(sum(stock_changed.non_aktif) over history, 0) as non_aktif,
    coalesce(sum(stock_changed.belum_aktif) over history, 0) as belum_aktif,
    coalesce(paid.contributions_idr, 0) as contributions_idr,
    coalesce(due.registrations_30d_due, 0) as registrations_30d_due,
    coalesce(due.activated_30d, 0) as activated_30d,
    coalesce(sum(acquired.acquisitions_of_month) over month_to_date, 0) as acquisitions_mtd,
    targets.target_new,
    coalesce(held.activities, 0) as activities,
    coalesce(held.contacts, 0) as contacts,
    coalesce(held.activity_cost_idr, 0) as activity_cost_idr,
    coalesce(registered.repeat_registrations, 0) as repeat_registrations,
    coalesce(delivered.quarantined, 0) as quarantined,
    coalesce(delivered.slices_late, 0) as slices_late
from branch_days
left join registered
    on branch_days.branch_id = registered.branch_id and branch_days.business_date = registered.business_date
left join acquired
    on branch_days.branch_id = acquired.branch_id and branch_days.business_date = acquired.business_date
left join reactivated
    on branch_days.branch_id = reactivated.branch_id and branch_days.business_date = reactivated.business_date
left join stock_changed
    on branch_days.branch_id = stock_changed.branch_id and branch_days.business_date = stock_changed.business_date
left join paid
    on branch_days.branch_id = paid.branch_id and branch_days.business_date = paid.business_date
left join due
    on branch_days.branch_id = due.branch_id and branch_days.business_date = due.business_date
left join held
    on branch_days.branch_id = held.branch_id and branch_days.business_date = held.business_date
left join delivered
    on branch_days.branch_id = delivered.branch_id and branch_days.business_date = delivered.business_date
left join targets
    on branch_days.branch_id = targets.branch_id and targets.month = {{ month_start('branch_days.business_date') }}
window
    history as (
        partition by branch_days.branch_id
        order by branch_days.business_date
        rows between unbounded preceding and current row
    ),
    month_to_date as (
        partition by branch_days.branch_id, {{ month_start('branch_days.business_date') }}
        order by branch_days.business_date
        rows between unbounded preceding and current row
    )
