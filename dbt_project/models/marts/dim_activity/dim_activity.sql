{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'activity_code'],
    on_schema_change='fail',
    meta={'touched_by': 'int_activity_keys_touched'},
    pre_hook=loops_allowed()
) }}
with in_force as (
    select * from {{ ref('int_activities_deduplicated') }}
),

activities as (
    select in_force.*
    from in_force
    {{ of_touched_keys('in_force', 'activity_code', 'int_activity_keys_touched') }}
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
