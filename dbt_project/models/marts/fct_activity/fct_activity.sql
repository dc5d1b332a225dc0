with activities as (
    select * from {{ ref('int_activities_deduplicated') }}
)

select
    branch_id,
    activity_code,
    activity_type,
    started_on,
    ended_on,
    contacts,
    cost,
    updated_at,
    business_date,
    revision,
    line
from activities
