with activities as (
    select * from {{ ref('int_activities_deduplicated') }}
),

districts as (
    select * from {{ ref('districts') }}
)

select
    activities.branch_id,
    activities.activity_code,
    activities.activity_type,
    activities.started_at,
    activities.ended_at,
    activities.started_on,
    activities.ended_on,
    activities.district_code,
    districts.name as district_name,
    activities.target_occupation,
    activities.duration_min
from activities
left join districts on replace(activities.district_code, '.', '') = districts.code
