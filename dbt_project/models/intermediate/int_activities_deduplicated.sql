-- Activities in force, with their days. A void is none.
{{ config(materialized='view') }}
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
from {{ ref('int_activities_in_force') }}
where record_status <> 'BATAL'
