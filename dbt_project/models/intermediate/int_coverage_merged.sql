-- Overlapping and touching coverage of a participant becomes one interval [coverage_start, coverage_end) (KPI rule 5).
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
        participant_token,
        coverage_start,
        coverage_end,
        max(coverage_end) over (
            partition by participant_token
            order by coverage_start, coverage_end
            rows between unbounded preceding and 1 preceding
        ) as covered_until
    from contributions
),

numbered as (
    select
        participant_token,
        coverage_start,
        coverage_end,
        sum(case when coverage_start <= covered_until then 0 else 1 end) over (
            partition by participant_token
            order by coverage_start, coverage_end
            rows between unbounded preceding and current row
        ) as interval_no
    from preceded
),

merged as (
    select
        participant_token,
        interval_no,
        min(coverage_start) as coverage_start,
        max(coverage_end) as coverage_end,
        count(*) as contributions
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
    coalesce(coverage_start >= {{ add_months('previous_end', 3) }}, false) as is_reactivation
from neighboured
