with cells as (
    select * from {{ ref('int_cells_counted') }}
),

dated as (
    select
        branch_id,
        code as channel_code,
        measure,
        amount,
        -- KPI rule 8: due 30 days after the first registration, at its branch and channel.
        case
            when measure in ('first_registrations', 'first_registrations_activated') then {{ add_days('day', 30) }}
            else day
        end as business_date
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
from dated
where business_date <= {{ as_of() }}
group by branch_id, channel_code, business_date
-- No amount is negative: a cell that fell to 0 leaves no row.
having sum(amount) > 0
