{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'business_date'],
    on_schema_change='fail',
    meta={'touched_by': 'int_branch_days_touched'},
    pre_hook=loops_allowed()
) }}
with branch_days as (
    select * from {{ ref('int_branch_days_touched') }}
),

first_days as (
    {{ first_days('branch_days') }}
),

cells as (
    {{ cells_since('first_days', [
        'registrations',
        'acquisitions',
        'activation_days',
        'activation_days_known',
        'first_registrations',
        'first_registrations_activated'
    ]) }}
),

dated as (
    select
        branch_id,
        code as channel_code,
        measure,
        amount,
        {{ day_counted() }} as business_date
    from cells
    where day >= {{ first_business_date() }}
)

select
    dated.branch_id,
    dated.channel_code,
    dated.business_date,
    cast(sum(case when dated.measure = 'registrations' then dated.amount else 0 end) as bigint) as registrations,
    cast(sum(case when dated.measure = 'acquisitions' then dated.amount else 0 end) as bigint) as acquisitions,
    cast(
        sum(case when dated.measure = 'activation_days' then dated.amount else 0 end) as bigint
    ) as activation_days_sum,
    cast(
        sum(case when dated.measure = 'activation_days_known' then dated.amount else 0 end) as bigint
    ) as activation_days_count,
    cast(
        sum(case when dated.measure = 'first_registrations_activated' then dated.amount else 0 end) as bigint
    ) as activated_30d,
    cast(
        sum(case when dated.measure = 'first_registrations' then dated.amount else 0 end) as bigint
    ) as registrations_30d_due
from dated
{{ of_touched_keys('dated', 'business_date', 'int_branch_days_touched') }}
where dated.business_date <= {{ as_of() }}
group by dated.branch_id, dated.channel_code, dated.business_date
-- No amount is negative: a cell that fell to 0 leaves no row.
having sum(dated.amount) > 0
