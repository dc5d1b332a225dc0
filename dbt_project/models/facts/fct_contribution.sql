{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='participant_token',
    on_schema_change='fail',
    indexes=[{'columns': ['participant_token']}],
    meta={'touched_by': 'int_participants_touched'}
) }}
with contributions as (
    select * from {{ ref('int_contributions_deduplicated') }}
    {{ of_touched_participants() }}
)

select
    branch_id,
    payment_id,
    participant_token,
    paid_at,
    paid_on,
    payment_channel,
    coverage_start,
    months_covered,
    program_code,
    jkk_amount,
    jkm_amount,
    jht_amount,
    total_amount,
    updated_at,
    business_date,
    revision,
    line
from contributions
