with branch_days as (
    select * from {{ ref('int_branch_days_counted') }}
),

branches as (
    select * from {{ ref('dim_branch') }}
),

informal_workers as (
    select * from {{ ref('informal_workers_by_province') }}
),

provinces as (
    select * from {{ ref('provinces') }}
),

province_history as (
    select * from {{ ref('province_history') }}
),

month_ends as (
    select distinct business_date as month_end
    from branch_days
    where business_date = {{ month_end('business_date') }}
),

-- The 34 provinces of before the split; what one of the tables lacks, the others may know.
former_provinces as (
    select coalesce(province_history.province_code_2021, provinces.code) as province_code
    from provinces
    left join province_history on provinces.code = province_history.province_code
    union
    select province_code from informal_workers
    union
    select province_code_2021 as province_code from branches
    where province_code_2021 is not null
),

province_months as (
    select
        former_provinces.province_code,
        month_ends.month_end
    from former_provinces
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
        informal_workers.source,
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
    left join informal_workers on province_months.province_code = informal_workers.province_code
)

select
    surveyed.province_code,
    surveyed.month_end,
    cast(coalesce(covered.aktif, 0) as bigint) as aktif,
    surveyed.informal_workers_est as informal_workers,
    surveyed.year as informal_workers_year,
    surveyed.source as informal_workers_source,
    100 * {{ ratio('coalesce(covered.aktif, 0)', 'surveyed.informal_workers_est') }} as coverage_pct,
    'registering_office' as attribution_rule
from surveyed
left join covered
    on surveyed.province_code = covered.province_code and surveyed.month_end = covered.month_end
where surveyed.preference = 1
