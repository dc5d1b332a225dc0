-- A target whose branch is in neither registry nor deliveries: it adds to no attainment and is in no regional office.
with targets as (
    select * from {{ ref('int_targets_deduplicated') }}
),

branches as (
    select * from {{ ref('dim_branch') }}
)

select
    targets.branch_id,
    targets.month
from targets
left join branches on targets.branch_id = branches.branch_id
where branches.branch_id is null
order by targets.branch_id, targets.month
