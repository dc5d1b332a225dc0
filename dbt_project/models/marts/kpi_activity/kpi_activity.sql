with activities as (
    select * from {{ ref('int_activities_deduplicated') }}
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
        branch_id,
        code as activity_code,
        sum(amount) as registrations
    from registrations
    group by branch_id, code
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
