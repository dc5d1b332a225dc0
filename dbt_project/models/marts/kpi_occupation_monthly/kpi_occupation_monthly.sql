with events as (
    select * from {{ ref('int_cells_counted') }}
    where measure in ('registrations_of_occupation', 'acquisitions_of_occupation')
),

stock_changes as (
    select * from {{ ref('int_cells_counted') }}
    where measure = 'aktif'
),

months as (
    select day as month
    from ({{ day_spine(month_start(first_business_date()), as_of()) }}) as days
    where day = {{ month_start('day') }}
),

-- Changes before the first month make up its opening stock.
monthly_changes as (
    select
        branch_id,
        code as occupation_code,
        greatest({{ month_start('day') }}, {{ month_start(first_business_date()) }}) as month,
        sum(amount) as change
    from stock_changes
    where day <= {{ as_of() }}
    group by branch_id, code, greatest({{ month_start('day') }}, {{ month_start(first_business_date()) }})
),

counted as (
    select
        branch_id,
        code as occupation_code,
        day as month,
        case when measure = 'registrations_of_occupation' then amount else 0 end as registrations,
        case when measure = 'acquisitions_of_occupation' then amount else 0 end as acquisitions,
        0 as aktif
    from events
    union all
    select
        monthly_changes.branch_id,
        monthly_changes.occupation_code,
        months.month,
        0 as registrations,
        0 as acquisitions,
        monthly_changes.change as aktif
    from monthly_changes
    inner join months on monthly_changes.month <= months.month
)

select
    counted.branch_id,
    counted.occupation_code,
    counted.month,
    cast(sum(counted.registrations) as bigint) as registrations,
    cast(sum(counted.acquisitions) as bigint) as acquisitions,
    cast(sum(counted.aktif) as bigint) as aktif
from counted
inner join months on counted.month = months.month
group by counted.branch_id, counted.occupation_code, counted.month
having sum(counted.registrations) > 0 or sum(counted.acquisitions) > 0 or sum(counted.aktif) > 0
