-- A month_n appears once its day is past for the whole cohort (KPI rule 14).
with acquisitions as (
    select * from {{ ref('int_cells_counted') }}
    where measure = 'acquisitions'
),

covered as (
    select * from {{ ref('int_cells_counted') }}
    where measure in ('covered_1', 'covered_3', 'covered_6', 'covered_12')
),

cohorts as (
    select
        {{ month_start('day') }} as cohort_month,
        branch_id,
        code as channel_code,
        sum(amount) as cohort_size
    from acquisitions
    group by {{ month_start('day') }}, branch_id, code
    having sum(amount) > 0
),

checkpoints as (
    select
        cohorts.*,
        ages.month_n,
        ages.measure
    from cohorts
    cross join (
        values (1, 'covered_1'), (3, 'covered_3'), (6, 'covered_6'), (12, 'covered_12')
    ) as ages (month_n, measure)
    where {{ add_months(month_end('cohorts.cohort_month'), 'ages.month_n') }} <= {{ as_of() }}
)

select
    checkpoints.cohort_month,
    checkpoints.branch_id,
    checkpoints.channel_code,
    checkpoints.month_n,
    cast(checkpoints.cohort_size as bigint) as cohort_size,
    cast(coalesce(covered.amount, 0) as bigint) as covered
from checkpoints
left join covered
    on
        checkpoints.measure = covered.measure
        and checkpoints.branch_id = covered.branch_id
        and checkpoints.cohort_month = covered.day
        and checkpoints.channel_code = covered.code
