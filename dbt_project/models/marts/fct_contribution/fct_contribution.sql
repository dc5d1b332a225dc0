{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'payment_id'],
    on_schema_change='fail',
    indexes=[{'columns': ['paid_on']}],
    meta={'touched_by': 'int_contribution_keys_touched'},
    pre_hook=loops_allowed()
) }}
with payments as (
    select * from {{ ref('int_contributions_deduplicated') }}
),

contributions as (
    select payments.*
    from payments
    {{ of_touched_keys('payments', 'payment_id', 'int_contribution_keys_touched') }}
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
