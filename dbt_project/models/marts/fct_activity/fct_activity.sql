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
