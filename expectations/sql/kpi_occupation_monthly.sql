-- Occupations month by month: their sum next to the branch's daily figures, where these hold the whole month.
with daily as (
    {% include 'branch_months.sql' %}
)

select
    branch_id || '/' || to_char(month, 'YYYY-MM') as slice,
    occupations.least_figure,
    coalesce(occupations.aktif, 0) as of_occupations_aktif,
    daily.aktif as of_days_aktif,
    case when month >= build.first_business_date then coalesce(occupations.registrations, 0) end as of_occupations,
    case when month >= build.first_business_date then coalesce(daily.registrations, 0) end as of_days
from (
    select
        branch_id,
        month,
        sum(registrations) as registrations,
        sum(aktif) as aktif,
        min(least(registrations, acquisitions, aktif)) as least_figure
    from next.kpi_occupation_monthly
    where month >= (select date_trunc('month', day) from audit.since)
    group by branch_id, month
) as occupations
full join daily using (branch_id, month)
cross join audit.build
