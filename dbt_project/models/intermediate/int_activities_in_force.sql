-- Exchange rule 1: the latest state of a key is in force, be it a void: a revision may take the void away again.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'activity_code'],
    on_schema_change='fail',
    indexes=[
        {'columns': ['branch_id', 'activity_code'], 'unique': true},
        {'columns': ['branch_id', 'business_date']},
    ],
    meta={'touched_by': 'int_activity_keys_touched', 'day': 'business_date'},
    pre_hook=loops_allowed()
) }}
with latest as (
    {{ latest_states('stg_activities', 'activity_code', touched='int_activity_keys_touched', feed='kegiatan') }}
)

select
    branch_id,
    activity_code,
    activity_type,
    started_at,
    ended_at,
    district_code,
    target_occupation,
    contacts,
    cost,
    duration_min,
    record_status,
    updated_at,
    business_date,
    revision,
    line
from latest
