-- Payments in force that do not count: their latest state voids them (exchange rule 1), or their participant is under
-- restriction. They stay known, for a revision may take the void away, and a restriction is released.
{{ waits_for('int_cells_withdrawn') }}
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
    meta={'touched_by': 'int_contribution_keys_touched', 'day': 'business_date'},
    pre_hook=loops_allowed()
) }}
with restricted as (
    select participant_token from {{ ref('int_participants_restricted') }}
    where is_restricted
),

latest as (
    {{ latest_states(
        'stg_contributions', 'payment_id', touched='int_contribution_keys_touched', feed='iuran',
        some="others.record_status = 'BATAL' or others.participant_token in (select restricted.participant_token from restricted)"
    ) }}
)

select
    branch_id,
    payment_id,
    participant_token,
    record_status = 'BATAL' as is_void,
    updated_at,
    business_date,
    line
from latest
where record_status = 'BATAL' or participant_token in (select restricted.participant_token from restricted)
