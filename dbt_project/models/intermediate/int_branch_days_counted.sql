-- Everything that the daily marts say of a branch and day as counts, with the two sides of each rate kept apart,
-- so that the national figures come from the same numbers.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'business_date'],
    on_schema_change='fail',
    indexes=[{'columns': ['branch_id', 'business_date'], 'unique': true}],
    meta={'touched_by': 'int_branch_days_touched', 'day': 'business_date'},
    pre_hook=loops_allowed()
) }}
with spread as (
    select * from {{ ref('int_branch_days_spread') }}
),

branch_days as (
    select spread.*
    from spread
    {{ of_touched_keys('spread', 'business_date', 'int_branch_days_touched') }}
),

first_days as (
    {{ first_days('branch_days') }}
),

-- The day before the first one to count, which stocks and the month to date go on from.
days_before as (
    {{ days_before('first_days') }}
),

events as (
    {{ cells_since('first_days', [
        'registrations', 'repeat_registrations', 'acquisitions', 'reactivations', 'contributions_idr'
    ]) }}
),

acquisitions as (
    {{ cells_since('first_days', ['acquisitions']) }}
),

stock_changes as (
    {{ cells_since('first_days', ['aktif', 'menunggak', 'non_aktif', 'belum_aktif']) }}
),

first_registrations as (
    {{ cells_since('first_days', ['first_registrations', 'first_registrations_activated']) }}
),

all_activities as (
    select * from {{ ref('int_activities_deduplicated') }}
),

activities as (
    select all_activities.*
    from all_activities
    inner join first_days
        on all_activities.branch_id = first_days.branch_id and all_activities.started_on >= first_days.first_day
),

judged as (
    select * from {{ ref('int_slices_judged') }}
),

slices as (
    select judged.*
    from judged
    {{ of_touched_keys('judged', 'business_date', 'int_branch_days_touched') }}
),

targets as (
    select * from {{ ref('int_targets_deduplicated') }}
),

counted as (
    select
        branch_id,
        day as business_date,
        sum(case when measure = 'registrations' then amount else 0 end) as registrations,
        sum(case when measure = 'repeat_registrations' then amount else 0 end) as repeat_registrations,
        sum(case when measure = 'acquisitions' then amount else 0 end) as acquisitions,
        sum(case when measure = 'reactivations' then amount else 0 end) as reactivations,
        sum(case when measure = 'contributions_idr' then amount else 0 end) as contributions_idr
    from events
    group by branch_id, day
),

-- Acquisitions of the first month before the first day count in its month to date and in nothing else (KPI rule 2).
acquired as (
    select
        branch_id,
        greatest(day, {{ first_business_date() }}) as business_date,
        sum(amount) as acquisitions_of_month
    from acquisitions
    where day >= {{ month_start(first_business_date()) }}
    group by branch_id, greatest(day, {{ first_business_date() }})
),

-- A stock is the running sum of its changes: nobody is counted day by day. Those before the first day make up its
-- opening stock.
stock_changed as (
    select
        branch_id,
        greatest(day, {{ first_business_date() }}) as business_date,
        sum(case when measure = 'aktif' then amount else 0 end) as aktif,
        sum(case when measure = 'menunggak' then amount else 0 end) as menunggak,
        sum(case when measure = 'non_aktif' then amount else 0 end) as non_aktif,
        sum(case when measure = 'belum_aktif' then amount else 0 end) as belum_aktif
    from stock_changes
    where day <= {{ as_of() }}
    group by branch_id, greatest(day, {{ first_business_date() }})
),

-- KPI rule 8: by the first registration, 30 days later, whether coverage has started by then.
due as (
    select
        branch_id,
        {{ add_days('day', 30) }} as business_date,
        sum(case when measure = 'first_registrations' then amount else 0 end) as registrations_30d_due,
        sum(case when measure = 'first_registrations_activated' then amount else 0 end) as activated_30d
    from first_registrations
    where day >= {{ first_business_date() }}
    group by branch_id, day
),

held as (
    {{ activities_held('activities') }}
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
    coalesce(counted.registrations, 0) as registrations,
    coalesce(counted.acquisitions, 0) as acquisitions,
    coalesce(counted.reactivations, 0) as reactivations,
    coalesce(days_before.aktif, 0) + coalesce(sum(stock_changed.aktif) over history, 0) as aktif,
    coalesce(days_before.menunggak, 0) + coalesce(sum(stock_changed.menunggak) over history, 0) as menunggak,
    coalesce(days_before.non_aktif, 0) + coalesce(sum(stock_changed.non_aktif) over history, 0) as non_aktif,
    coalesce(days_before.belum_aktif, 0) + coalesce(sum(stock_changed.belum_aktif) over history, 0) as belum_aktif,
    coalesce(counted.contributions_idr, 0) as contributions_idr,
    coalesce(due.registrations_30d_due, 0) as registrations_30d_due,
    coalesce(due.activated_30d, 0) as activated_30d,
    case
        when {{ month_start('days_before.business_date') }} = {{ month_start('branch_days.business_date') }}
            then days_before.acquisitions_mtd
        else 0
    end + coalesce(sum(acquired.acquisitions_of_month) over month_to_date, 0) as acquisitions_mtd,
    targets.target_new,
    coalesce(held.activities, 0) as activities,
    coalesce(held.contacts, 0) as contacts,
    coalesce(held.activity_cost_idr, 0) as activity_cost_idr,
    coalesce(counted.repeat_registrations, 0) as repeat_registrations,
    coalesce(delivered.quarantined, 0) as quarantined,
    coalesce(delivered.slices_late, 0) as slices_late
from branch_days
left join days_before
    on branch_days.branch_id = days_before.branch_id
left join counted
    on branch_days.branch_id = counted.branch_id and branch_days.business_date = counted.business_date
left join acquired
    on branch_days.branch_id = acquired.branch_id and branch_days.business_date = acquired.business_date
left join stock_changed
    on branch_days.branch_id = stock_changed.branch_id and branch_days.business_date = stock_changed.business_date
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
