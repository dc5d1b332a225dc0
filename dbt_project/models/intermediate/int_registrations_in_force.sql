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
    meta={'touched_by': 'int_registration_keys_touched'},
    pre_hook=loops_allowed()
) }}
with registrations as (
    select * from {{ ref('stg_registrations') }}
),

considered as (
    select registrations.*
    from registrations
    {% if not execute or (var('built_as_of', none) and is_incremental()) -%}
    inner join {{ ref('int_registration_keys_touched') }} as touched
        on registrations.branch_id = touched.branch_id and registrations.registration_no = touched.registration_no
    {%- endif %}
),

ranked as (
    select
        *,
        row_number() over (
            partition by branch_id, registration_no
            order by updated_at desc, business_date desc, line desc
        ) as recency
    from considered
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
from ranked
where recency = 1
