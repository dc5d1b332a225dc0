with listed as (
    select * from {{ ref('int_branches_listed') }}
),

branches as (
    select * from {{ ref('branches') }}
),

regional_offices as (
    select * from {{ ref('regional_offices') }}
),

provinces as (
    select * from {{ ref('provinces') }}
),

regencies as (
    select * from {{ ref('regencies') }}
),

province_history as (
    select * from {{ ref('province_history') }}
)

select
    listed.branch_id,
    branches.office_code,
    coalesce(branches.branch_name, listed.branch_id) as branch_name,
    branches.name_status,
    branches.kanwil_id,
    regional_offices.kanwil_name,
    branches.province_code,
    provinces.name as province_name,
    coalesce(province_history.province_code_2021, branches.province_code) as province_code_2021,
    former_provinces.name as province_name_2021,
    branches.regency_code,
    regencies.name as regency_name,
    branches.lat,
    branches.lng,
    listed.timezone,
    listed.tier,
    listed.is_registered,
    listed.active_from,
    listed.active_to
from listed
left join branches on listed.branch_id = branches.branch_id
left join regional_offices on branches.kanwil_id = regional_offices.kanwil_id
left join provinces on branches.province_code = provinces.code
left join regencies on branches.regency_code = regencies.code
left join province_history on branches.province_code = province_history.province_code
left join provinces as former_provinces
    on coalesce(province_history.province_code_2021, branches.province_code) = former_provinces.code
