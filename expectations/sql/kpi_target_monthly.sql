-- Targets and what came of them, next to the sums of the daily figures where these hold the whole month.
with daily as (
    {% include 'branch_months.sql' %}
)

select
    branch_id || '/' || to_char(month, 'YYYY-MM') as slice,
    mart.target_new,
    mart.realisation_new,
    mart.realisation_active,
    mart.realisation_idr,
    mart.attainment_new,
    -- By how much the rank is below 1, or above the number of branches.
    greatest(1 - mart.rank, mart.rank - (select count(*) from next.dim_branch)) as rank_out_of_range,
    case when mart.month >= build.first_business_date then coalesce(daily.acquisitions, 0) end as daily_new,
    case when mart.month >= build.first_business_date then coalesce(daily.idr, 0) end as daily_idr,
    coalesce(daily.aktif, 0) as daily_active
from next.kpi_target_monthly as mart
cross join audit.build
left join daily using (branch_id, month)
where mart.month >= (select date_trunc('month', since.day) from audit.since)
