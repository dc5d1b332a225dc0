-- Months and weekdays without a name: dim_date would have no row for their days.
with months as (
    select * from {{ ref('months') }}
),

weekdays as (
    select * from {{ ref('weekdays') }}
),

numbers as (
    select *
    from
        (
            values (1, 7), (2, 7), (3, 7), (4, 7), (5, 7), (6, 7), (7, 7), (8, 12), (9, 12), (10, 12), (11, 12), (12, 12)
        ) as listed (number, greatest_of)
)

select
    'months' as seed,
    numbers.number
from numbers
left join months on numbers.number = months.month_of_year
where months.month_of_year is null
union all
select
    'weekdays' as seed,
    numbers.number
from numbers
left join weekdays on numbers.number = weekdays.day_of_week
where weekdays.day_of_week is null and numbers.greatest_of = 7
