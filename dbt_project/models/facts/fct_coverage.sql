-- Intervals that have started; one that starts after as_of does not count yet (KPI rule 2).
with coverage as (
    select * from {{ ref('int_coverage_merged') }}
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
