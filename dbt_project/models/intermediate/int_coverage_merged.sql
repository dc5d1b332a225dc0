-- Overlapping and touching coverage of a participant becomes one interval [coverage_start, coverage_end) (KPI rule 5).
-- The first one says which payments began it all: whom a participant counts for follows from them, and no other model
-- need read a participant's payments again.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='participant_token',
    on_schema_change='fail',
    indexes=[{'columns': ['participant_token']}, {'columns': ['coverage_start']}],
    meta={'touched_by': 'int_participants_touched'}
) }}
with contributions as (
    select * from {{ ref('int_contributions_deduplicated') }}
    {{ of_touched_participants() }}
),

preceded as (
    select
        *,
        max(coverage_end) over (
            partition by participant_token
            order by coverage_start, paid_at, {{ by_code_points('branch_id') }}, {{ by_code_points('payment_id') }}
            rows between unbounded preceding and 1 preceding
        ) as covered_until
    from contributions
),

numbered as (
    select
        *,
        sum(case when coverage_start <= covered_until then 0 else 1 end) over (
            partition by participant_token
            order by coverage_start, paid_at, {{ by_code_points('branch_id') }}, {{ by_code_points('payment_id') }}
            rows between unbounded preceding and current row
        ) as interval_no,
        first_value(branch_id) over (
            partition by participant_token
            order by paid_at, {{ by_code_points('branch_id') }}, {{ by_code_points('payment_id') }}
        ) as first_paid_branch_id
    from preceded
),

merged as (
    select
        participant_token,
        interval_no,
        min(coverage_start) as coverage_start,
        max(coverage_end) as coverage_end,
        count(*) as contributions,
        -- Before the first one nothing is covered.
        max(case when covered_until is null then branch_id end) as activating_branch_id,
        max(case when covered_until is null then payment_id end) as activating_payment_id,
        max(case when interval_no = 1 then first_paid_branch_id end) as first_paid_branch_id
    from numbered
    group by participant_token, interval_no
),

neighboured as (
    select
        *,
        lag(coverage_end) over (partition by participant_token order by interval_no) as previous_end,
        lead(coverage_start) over (partition by participant_token order by interval_no) as next_start
    from merged
)

select
    participant_token,
    interval_no,
    coverage_start,
    coverage_end,
    previous_end,
    next_start,
    contributions,
    activating_branch_id,
    activating_payment_id,
    first_paid_branch_id,
    coalesce(coverage_start >= {{ add_months('previous_end', 3) }}, false) as is_reactivation
from neighboured
