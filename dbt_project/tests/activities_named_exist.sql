-- Registrations count in every other figure all the same; what they name has no row in kpi_activity.
with registrations as (
    select * from {{ ref('fct_registration') }}
    where activity_code is not null
),

activities as (
    select * from {{ ref('dim_activity') }}
)

select
    registrations.branch_id,
    registrations.activity_code,
    count(*) as registrations
from registrations
left join activities
    on registrations.branch_id = activities.branch_id and registrations.activity_code = activities.activity_code
where activities.activity_code is null
group by registrations.branch_id, registrations.activity_code
order by registrations desc, registrations.branch_id, registrations.activity_code
