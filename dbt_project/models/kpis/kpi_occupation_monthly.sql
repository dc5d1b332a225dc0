with registrations as (
    select * from {{ ref('int_registrations_deduplicated') }}
),

acquisitions as (
    select * from {{ ref('int_acquisitions_credited') }}
),

stock_changes as (
    select * from {{ ref('int_stock_changes_counted') }}
    where status = 'aktif'
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
        occupation_code,
        greatest({{ month_start('day') }}, {{ month_start(first_business_date()) }}) as month,
        sum(change) as change
    from stock_changes
    group by branch_id, occupation_code, greatest({{ month_start('day') }}, {{ month_start(first_business_date()) }})
),

counted as (
    select
        branch_id,
        known_occupation_code as occupation_code,
        {{ month_start('registered_on') }} as month,
        1 as registrations,
        0 as acquisitions,
        0 as aktif
    from registrations
    union all
    select
        branch_id,
        known_occupation_code as occupation_code,
        {{ month_start('activated_on') }} as month,
        0 as registrations,
        1 as acquisitions,
        0 as aktif
    from acquisitions
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
