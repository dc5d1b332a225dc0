-- Exchange rule 1: the latest state of a payment is in force. One that voids it is none, nor one of a participant
-- under restriction (int_contributions_uncounted).
{{ waits_for('int_cells_withdrawn') }}
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'payment_id'],
    on_schema_change='fail',
    indexes=[
        {'columns': ['branch_id', 'business_date']},
        {'columns': ['participant_token']},
        {'columns': ['paid_on']},
    ],
    meta={'touched_by': 'int_contribution_keys_touched'},
    pre_hook=loops_allowed()
) }}
with restricted as (
    select participant_token from {{ ref('int_participants_restricted') }}
    where is_restricted
),

latest as (
    {{ latest_states(
        'stg_contributions', 'payment_id', touched='int_contribution_keys_touched', feed='iuran'
    ) }}
)

select
    branch_id,
    payment_id,
    participant_token,
    paid_at,
    {{ jakarta_day('paid_at') }} as paid_on,
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
from latest
where record_status <> 'BATAL' and participant_token not in (select restricted.participant_token from restricted)
