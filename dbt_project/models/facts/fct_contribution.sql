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
    {% if not execute or (var('built_as_of', none) and is_incremental()) -%}
    inner join {{ ref('int_contribution_keys_touched') }} as touched
        on payments.branch_id = touched.branch_id and payments.payment_id = touched.payment_id
    {%- endif %}
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
