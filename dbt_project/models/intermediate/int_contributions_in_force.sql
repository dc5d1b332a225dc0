-- Exchange rule 1: the latest state of a key is in force, be it a void: a revision may take the void away again.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'payment_id'],
    on_schema_change='fail',
    indexes=[
        {'columns': ['branch_id', 'payment_id'], 'unique': true},
        {'columns': ['branch_id', 'business_date']},
        {'columns': ['participant_token']},
    ],
    meta={'touched_by': 'int_contribution_keys_touched'},
    pre_hook=loops_allowed()
) }}
with latest as (
    {{ latest_states(
        'stg_contributions', 'payment_id', touched='int_contribution_keys_touched', feed='iuran'
    ) }}
)

select
    branch_id,
    payment_id,
    participant_token,
    paid_at,
    payment_channel,
    coverage_start,
    months_covered,
    program_code,
    jkk_amount,
    jkm_amount,
    jht_amount,
    total_amount,
    record_status,
    updated_at,
    business_date,
    revision,
    line
from latest
