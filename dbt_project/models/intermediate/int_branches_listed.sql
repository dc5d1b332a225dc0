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
    coalesce(registered.timezone, branches.timezone) as timezone,
    -- A new office is described by its line in the registry, which holds where the reference table speaks too.
    coalesce(registered.branch_name, branches.branch_name) as branch_name,
    coalesce(registered.kanwil_id, branches.kanwil_id) as kanwil_id,
    coalesce(registered.province_code, branches.province_code) as province_code,
    coalesce(registered.regency_code, branches.regency_code) as regency_code,
    coalesce(registered.lat, branches.lat) as lat,
    coalesce(registered.lng, branches.lng) as lng
from registered
full outer join delivered on registered.branch_id = delivered.branch_id
left join branches on coalesce(registered.branch_id, delivered.branch_id) = branches.branch_id
