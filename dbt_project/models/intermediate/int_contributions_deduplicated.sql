-- Payments in force, each with the coverage that it pays for. A void is none.
{{ waits_for('int_cells_withdrawn') }}
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'payment_id'],
    on_schema_change='fail',
    indexes=[{'columns': ['branch_id', 'payment_id'], 'unique': true}, {'columns': ['participant_token']}],
    meta={'touched_by': 'int_contribution_keys_touched'},
    pre_hook=loops_allowed()
) }}
with payments as (
    select * from {{ ref('int_contributions_in_force') }}
),

latest as (
    select payments.*
    from payments
    {{ of_touched_keys('payments', 'payment_id', 'int_contribution_keys_touched') }}
)

select
    branch_id,
    payment_id,
    participant_token,
    paid_at,
    {{ jakarta_day('paid_at') }} as paid_on,
    payment_channel,
    coverage_start,
    -- Months are added to the contribution's own start, so that 31 Jan + 2 months is 31 Mar, not 28 Mar.
    {{ add_months('coverage_start', 'months_covered') }} as coverage_end,
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
from latest
where record_status <> 'BATAL'
