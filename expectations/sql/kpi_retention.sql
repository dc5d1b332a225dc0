-- Cohorts, and whether they keep their size from one month to the next.
select
    cast(cohort_month as text) || '/' || branch_id || '/' || audit.code(channel_code) || '/' || month_n as slice,
    month_n,
    cohort_size,
    covered,
    min(cohort_size) over (partition by cohort_month, branch_id, channel_code) as least_cohort_size
from next.kpi_retention
