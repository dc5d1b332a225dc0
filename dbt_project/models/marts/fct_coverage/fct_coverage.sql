-- Intervals that have started; one that starts after as_of does not count yet (KPI rule 2).
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='participant_token',
    on_schema_change='fail',
    meta={'touched_by': 'int_participants_touched'}
) }}
with coverage as (
    select * from {{ ref('int_coverage_merged') }}
    {{ of_touched_participants() }}
)

select
    participant_token,
    interval_no,
    coverage_start,
    coverage_end,
    previous_end,
    contributions,
    is_reactivation
from coverage
where coverage_start <= {{ as_of() }}
