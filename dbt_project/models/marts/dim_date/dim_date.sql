-- From the calendar's start to the end of the year after as_of, for coverage reaches a year ahead.
with days as (
    {{ day_spine(
        "least(cast('" ~ var('calendar_start') ~ "' as date), " ~ first_business_date() ~ ")",
        add_days(add_months('cast(' ~ dbt.date_trunc('year', as_of()) ~ ' as date)', 24), -1)
    ) }}
),

months as (
    select * from {{ ref('months') }}
),

weekdays as (
    select * from {{ ref('weekdays') }}
),

dated as (
    select
        day,
        {{ month_start('day') }} as month_start,
        {{ month_end('day') }} as month_end,
        cast(extract(year from day) as integer) as year,
        cast(extract(quarter from day) as integer) as quarter,
        cast(extract(month from day) as integer) as month_of_year,
        cast(extract(day from day) as integer) as day_of_month,
        {{ iso_weekday('day') }} as day_of_week
    from days
)

select
    dated.day as date,
    dated.year,
    dated.quarter,
    dated.month_start as month,
    dated.month_of_year,
    months.name_id as month_name_id,
    months.name_en as month_name_en,
    dated.day_of_month,
    dated.day_of_week,
    weekdays.name_id as day_name_id,
    weekdays.name_en as day_name_en,
    dated.day_of_week >= 6 as is_weekend,
    dated.day = dated.month_end as is_month_end,
    dated.day between {{ first_business_date() }} and {{ as_of() }} as is_reported,
    dated.day = {{ as_of() }} as is_as_of
from dated
inner join months on dated.month_of_year = months.month_of_year
inner join weekdays on dated.day_of_week = weekdays.day_of_week
