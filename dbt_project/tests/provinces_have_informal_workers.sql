-- Provinces of before the split without a figure in a year that others have: no coverage_pct, or that of another year.
with provinces as (
    select * from {{ ref('provinces') }}
),

province_history as (
    select * from {{ ref('province_history') }}
),

branches as (
    select * from {{ ref('branches') }}
),

informal_workers as (
    select * from {{ ref('informal_workers_by_province') }}
),

-- A province that only branches name is asked for too.
named as (
    select code as province_code from provinces
    union
    select province_code from branches
),

former as (
    select distinct coalesce(province_history.province_code_2021, named.province_code) as province_code
    from named
    left join province_history on named.province_code = province_history.province_code
),

years as (
    select distinct year from informal_workers
)

select
    former.province_code,
    years.year
from former
cross join years
left join informal_workers
    on former.province_code = informal_workers.province_code and years.year = informal_workers.year
where coalesce(informal_workers.informal_workers_est, 0) <= 0
order by former.province_code, years.year
