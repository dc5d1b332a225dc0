-- The days of branches that this build counts again: of each branch all from the first on of which anything is new, for
-- stocks and months to date run on from day to day. Nothing when everything is rebuilt.
with branch_days as (
    select * from {{ ref('int_branch_days_spread') }}
),

deliveries as (
    select * from {{ ref('int_deliveries_touched') }}
),

changes as (
    select * from {{ ref('int_cells_changed') }}
),

keys as (
    select * from {{ ref('int_activity_keys_touched') }}
),

activities as (
    select * from {{ ref('int_activities_deduplicated') }}
),

-- The days that the touched activities are on, and were.
activity_days as (
    select
        activities.branch_id,
        activities.started_on as business_date
    from keys
    inner join activities
        on keys.branch_id = activities.branch_id and keys.activity_code = activities.activity_code
    union
    select
        branch_id,
        {{ jakarta_day('started_at_before') }} as business_date
    from keys
),

activities_of_days as (
    select activities.*
    from activities
    inner join activity_days
        on activities.branch_id = activity_days.branch_id and activities.started_on = activity_days.business_date
),

targets as (
    select * from {{ ref('int_targets_deduplicated') }}
),

standing as (
    {% if var('built_as_of', none) -%}
    select * from {{ before('int_branch_days_counted') }}
    {%- else -%}
    select
        branch_id,
        business_date,
        0 as activities,
        0 as contacts,
        0 as activity_cost_idr,
        0 as target_new
    from deliveries
    where 1 = 0
    {%- endif %}
),

held as (
    {{ activities_held('activities_of_days') }}
),

-- Days of touched activities, and targets, which are few: what is counted of them is compared with what stands.
changed as (
    select
        branch_id,
        business_date
    from deliveries
    union all
    select
        branch_id,
        {{ day_counted() }} as business_date
    from changes
    where
        measure in (
            'registrations',
            'repeat_registrations',
            'acquisitions',
            'activation_days',
            'activation_days_known',
            'reactivations',
            'contributions_idr',
            'first_registrations',
            'first_registrations_activated',
            'aktif',
            'menunggak',
            'non_aktif',
            'belum_aktif'
        )
    union all
    select
        standing.branch_id,
        standing.business_date
    from standing
    inner join activity_days
        on standing.branch_id = activity_days.branch_id and standing.business_date = activity_days.business_date
    left join held
        on standing.branch_id = held.branch_id and standing.business_date = held.business_date
    where
        standing.activities <> coalesce(held.activities, 0)
        or standing.contacts <> coalesce(held.contacts, 0)
        or standing.activity_cost_idr <> coalesce(held.activity_cost_idr, 0)
    union all
    select
        standing.branch_id,
        standing.business_date
    from standing
    left join targets
        on standing.branch_id = targets.branch_id and targets.month = {{ month_start('standing.business_date') }}
    where
        standing.target_new <> targets.target_new
        or (standing.target_new is null and targets.target_new is not null)
        or (standing.target_new is not null and targets.target_new is null)
),

first_days as (
    {{ first_days('changed') }}
)

select
    branch_days.branch_id,
    branch_days.business_date
from branch_days
inner join first_days
    on branch_days.branch_id = first_days.branch_id and branch_days.business_date >= first_days.first_day
union
-- A branch that left both registry and deliveries has its days there alone.
select
    branch_id,
    business_date
from deliveries
