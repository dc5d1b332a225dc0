{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='participant_token',
    on_schema_change='fail',
    meta={'touched_by': 'int_participants_touched'}
) }}
with acquisitions as (
    select * from {{ ref('int_acquisitions_credited') }}
    {{ of_touched_participants() }}
)

select
    participant_token,
    activated_on,
    branch_id,
    channel_code,
    activity_code,
    officer_code,
    occupation_code,
    known_occupation_code,
    segment_code,
    registration_no,
    registered_on,
    activation_days,
    payment_branch_id,
    payment_id
from acquisitions
