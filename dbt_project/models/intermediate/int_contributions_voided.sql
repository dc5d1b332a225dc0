-- Payments that their latest state voids (exchange rule 1). They stay known, for a revision may take the void away.
{{ waits_for('int_cells_withdrawn') }}
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'payment_id'],
    on_schema_change='fail',
    indexes=[
        {'columns': ['branch_id', 'payment_id'], 'unique': true},
        {'columns': ['branch_id', 'business_date']},
    ],
    meta={'touched_by': 'int_contribution_keys_touched'},
    pre_hook=loops_allowed()
) }}
with latest as (
    {{ latest_states(
        'stg_contributions', 'payment_id', touched='int_contribution_keys_touched', feed='iuran', status='BATAL'
    ) }}
)

select
    branch_id,
    payment_id,
    participant_token,
    updated_at,
    business_date,
    line
from latest
where record_status = 'BATAL'
