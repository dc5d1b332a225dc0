{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'activity_code'],
    on_schema_change='fail',
    meta={'touched_by': 'int_activities_touched'},
    pre_hook=loops_allowed()
) }}
with in_force as (
    select * from {{ ref('int_activities_deduplicated') }}
),

activities as (
    select in_force.*
    from in_force
    {{ of_touched_keys('in_force', 'activity_code', 'int_activities_touched') }}
),

registrations as (
    select * from {{ ref('int_cells_counted') }}
    where measure = 'registrations_of_activity'
),

acquisitions as (
    select * from {{ ref('int_cells_counted') }}
    where measure = 'acquisitions_of_activity'
),

registered as (
    select
        activities.branch_id,
        activities.activity_code,
        sum(registrations.amount) as registrations
    from activities
    inner join registrations
        on activities.branch_id = registrations.branch_id and activities.activity_code = registrations.code
    group by activities.branch_id, activities.activity_code
),

acquired as (
    select
        activities.branch_id,
        activities.activity_code,
        sum(acquisitions.amount) as acquisitions
    from activities
    inner join acquisitions
        on
            activities.branch_id = acquisitions.branch_id
            and activities.activity_code = acquisitions.code
            and acquisitions.day <= {{ add_days('activities.ended_on', 30) }}
    group by activities.branch_id, activities.activity_code
),

counted as (
    select
        activities.branch_id,
        activities.activity_code,
        activities.activity_type,
        activities.contacts,
        activities.cost,
        cast(coalesce(registered.registrations, 0) as bigint) as registrations,
        cast(coalesce(acquired.acquisitions, 0) as bigint) as acquisitions
    from activities
    left join registered
        on activities.branch_id = registered.branch_id and activities.activity_code = registered.activity_code
    left join acquired
        on activities.branch_id = acquired.branch_id and activities.activity_code = acquired.activity_code
)

select
    branch_id,
    activity_code,
    activity_type as type,
    contacts,
    cost,
    registrations,
    acquisitions,
    {{ ratio('registrations', 'contacts') }} as conversion,
    {{ ratio('acquisitions', 'registrations') }} as paid_conversion,
    {{ ratio('cost', 'acquisitions') }} as cost_per_acquisition
from counted
