with occupations as (
    select * from {{ ref('occupations') }}
),

major_groups as (
    select * from {{ ref('kbji_major_groups') }}
)

select
    occupations.code as occupation_code,
    occupations.name_id,
    occupations.isco08_kbji2014_4digit as kbji_code,
    occupations.kbji_major_group,
    major_groups.name_id as kbji_major_group_name_id,
    major_groups.name_en as kbji_major_group_name_en,
    occupations.kbli_section,
    occupations.sector,
    true as is_known
from occupations
left join major_groups on occupations.kbji_major_group = major_groups.code
union all
select
    'TIDAK_DIKETAHUI' as occupation_code,
    'Tidak diketahui' as name_id,
    null as kbji_code,
    null as kbji_major_group,
    null as kbji_major_group_name_id,
    null as kbji_major_group_name_en,
    null as kbli_section,
    null as sector,
    false as is_known
