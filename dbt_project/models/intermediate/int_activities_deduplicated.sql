-- Exchange rule 1: the latest state of a key is in force, and is no activity when it voids the key.
with latest as (
    {{ latest_states('stg_activities', 'activity_code') }}
)

select
    branch_id,
    activity_code,
    activity_type,
    started_at,
    ended_at,
    {{ jakarta_day('started_at') }} as started_on,
    {{ jakarta_day('ended_at') }} as ended_on,
    district_code,
    target_occupation,
    contacts,
    cost,
    duration_min,
    updated_at,
    business_date,
    revision,
    line
from latest
where record_status <> 'BATAL'
