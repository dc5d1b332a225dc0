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
with contributions as (
    select * from {{ ref('stg_contributions') }}
),

considered as (
    select contributions.*
    from contributions
    {% if not execute or (var('built_as_of', none) and is_incremental()) -%}
    inner join {{ ref('int_contribution_keys_touched') }} as touched
        on contributions.branch_id = touched.branch_id and contributions.payment_id = touched.payment_id
    {%- endif %}
),

ranked as (
    select
        *,
        row_number() over (
            partition by branch_id, payment_id
            order by updated_at desc, business_date desc, line desc
        ) as recency
    from considered
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
from ranked
where recency = 1
