-- The registry, and branches that it has dropped but that delivered once: their participants still count nationwide.
with registered as (
    select * from {{ ref('stg_branches') }}
),

slices as (
    select * from {{ ref('stg_slices') }}
),

feeds as (
    select * from {{ ref('stg_feeds') }}
),

delivered as (
    select distinct slices.branch_id
    from slices
    inner join feeds on slices.feed = feeds.feed and feeds.sender = 'branch'
),

branches as (
    select * from {{ ref('branches') }}
)

select
    coalesce(registered.branch_id, delivered.branch_id) as branch_id,
    registered.branch_id is not null as is_registered,
    registered.tier,
    registered.active_from,
    registered.active_to,
    coalesce(registered.timezone, branches.timezone) as timezone
from registered
full outer join delivered on registered.branch_id = delivered.branch_id
left join branches on coalesce(registered.branch_id, delivered.branch_id) = branches.branch_id
