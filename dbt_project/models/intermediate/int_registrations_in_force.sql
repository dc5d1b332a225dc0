-- Exchange rule 1: the latest state of a key is in force, be it a void: a revision may take the void away again.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'registration_no'],
    on_schema_change='fail',
    indexes=[
        {'columns': ['branch_id', 'registration_no'], 'unique': true},
        {'columns': ['branch_id', 'business_date']},
        {'columns': ['participant_token']},
    ],
    meta={'touched_by': 'int_registration_keys_touched', 'day': 'business_date'},
    pre_hook=loops_allowed()
) }}
with latest as (
    {{ latest_states(
        'stg_registrations', 'registration_no', touched='int_registration_keys_touched', feed='pendaftaran'
    ) }}
)

select
    branch_id,
    registration_no,
    participant_token,
    registered_at,
    birth_year,
    sex,
    district_code,
    occupation_code,
    program_code,
    months_covered,
    channel_code,
    activity_code,
    officer_code,
    segment_code,
    record_status,
    updated_at,
    business_date,
    revision,
    line
from latest
