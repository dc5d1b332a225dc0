-- A month_n appears once its day is past for the whole cohort (KPI rule 14).
with acquisitions as (
    select * from {{ ref('int_acquisitions_credited') }}
),

coverage as (
    select * from {{ ref('int_coverage_merged') }}
),

cohorts as (
    select
        participant_token,
        branch_id,
        channel_code,
        activated_on,
        {{ month_start('activated_on') }} as cohort_month
    from acquisitions
),

checkpoints as (
    select
        cohorts.participant_token,
        cohorts.branch_id,
        cohorts.channel_code,
        cohorts.cohort_month,
        ages.month_n,
        {{ add_months('cohorts.activated_on', 'ages.month_n') }} as checked_on
    from cohorts
    cross join (values (1), (3), (6), (12)) as ages (month_n)
    where {{ add_months(month_end('cohorts.cohort_month'), 'ages.month_n') }} <= {{ as_of() }}
)

select
    checkpoints.cohort_month,
    checkpoints.branch_id,
    checkpoints.channel_code,
    checkpoints.month_n,
    count(*) as cohort_size,
    count(coverage.participant_token) as covered
from checkpoints
left join coverage
    on
        checkpoints.participant_token = coverage.participant_token
        and checkpoints.checked_on >= coverage.coverage_start
        and checkpoints.checked_on < coverage.coverage_end
group by checkpoints.cohort_month, checkpoints.branch_id, checkpoints.channel_code, checkpoints.month_n
