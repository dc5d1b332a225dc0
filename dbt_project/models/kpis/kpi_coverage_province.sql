with branch_days as (
    select * from {{ ref('int_branch_days_counted') }}
),

branches as (
    select * from {{ ref('dim_branch') }}
),

informal_workers as (
    select * from {{ ref('informal_workers_by_province') }}
),

month_ends as (
    select distinct business_date as month_end
    from branch_days
    where business_date = {{ month_end('business_date') }}
),

-- The 34 provinces of before the split: those that the survey knows.
province_months as (
    select
        provinces.province_code,
        month_ends.month_end
    from (select distinct province_code from informal_workers) as provinces
    cross join month_ends
),

covered as (
    select
        branches.province_code_2021 as province_code,
        branch_days.business_date as month_end,
        sum(branch_days.aktif) as aktif
    from branch_days
    inner join branches on branch_days.branch_id = branches.branch_id
    where branch_days.business_date = {{ month_end('branch_days.business_date') }}
    group by branches.province_code_2021, branch_days.business_date
),

surveyed as (
    select
        province_months.province_code,
        province_months.month_end,
        informal_workers.informal_workers_est,
        informal_workers.year,
        row_number() over (
            partition by province_months.province_code, province_months.month_end
            order by
                -- The latest survey not after the year; before the first survey, the first.
                case when informal_workers.year <= extract(year from province_months.month_end) then 0 else 1 end,
                case
                    when informal_workers.year <= extract(year from province_months.month_end)
                        then -informal_workers.year
                    else informal_workers.year
                end
        ) as preference
    from province_months
    inner join informal_workers on province_months.province_code = informal_workers.province_code
)

select
    surveyed.province_code,
    surveyed.month_end,
    cast(coalesce(covered.aktif, 0) as bigint) as aktif,
    surveyed.informal_workers_est as informal_workers,
    surveyed.year as informal_workers_year,
    'BPS Sakernas, Agustus' as informal_workers_source,
    100 * {{ ratio('coalesce(covered.aktif, 0)', 'surveyed.informal_workers_est') }} as coverage_pct,
    'registering_office' as attribution_rule
from surveyed
left join covered
    on surveyed.province_code = covered.province_code and surveyed.month_end = covered.month_end
where surveyed.preference = 1
