{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'business_date'],
    on_schema_change='fail',
    meta={'touched_by': 'int_branch_days_touched'},
    pre_hook=loops_allowed()
) }}
with cells as (
    select * from {{ ref('int_cells_counted') }}
),

dated as (
    select
        branch_id,
        code as channel_code,
        measure,
        amount,
        {{ day_counted() }} as business_date
    from cells
    where
        measure in (
            'registrations',
            'acquisitions',
            'activation_days',
            'activation_days_known',
            'first_registrations',
            'first_registrations_activated'
        )
        and day >= {{ first_business_date() }}
),

counted as (
    select dated.*
    from dated
    {{ of_touched_keys('dated', 'business_date', 'int_branch_days_touched') }}
    where dated.business_date <= {{ as_of() }}
)

select
    branch_id,
    channel_code,
    business_date,
    cast(sum(case when measure = 'registrations' then amount else 0 end) as bigint) as registrations,
    cast(sum(case when measure = 'acquisitions' then amount else 0 end) as bigint) as acquisitions,
    cast(sum(case when measure = 'activation_days' then amount else 0 end) as bigint) as activation_days_sum,
    cast(sum(case when measure = 'activation_days_known' then amount else 0 end) as bigint) as activation_days_count,
    cast(sum(case when measure = 'first_registrations_activated' then amount else 0 end) as bigint) as activated_30d,
    cast(sum(case when measure = 'first_registrations' then amount else 0 end) as bigint) as registrations_30d_due
from counted
group by branch_id, channel_code, business_date
-- No amount is negative: a cell that fell to 0 leaves no row.
having sum(amount) > 0
