-- How far each branch stands: until when its days are whole, and what of it the gate keeps back.
with branches as (
    select * from {{ ref('int_branches_listed') }}
),

judged as (
    select * from {{ ref('int_slices_judged') }}
),

slices as (
    select * from {{ ref('stg_slices') }}
    where status = 'held'
),

days as (
    select
        branch_id,
        business_date,
        min(case when is_in_force then 1 else 0 end) as whole
    from judged
    group by branch_id, business_date
),

good as (
    select
        branch_id,
        max(business_date) as last_good_date
    from days
    where whole = 1
    group by branch_id
),

held as (
    select
        branch_id,
        count(*) as slices_held,
        min(business_date) as held_since_date
    from slices
    group by branch_id
)

select
    branches.branch_id,
    good.last_good_date,
    cast(coalesce(held.slices_held, 0) as bigint) as slices_held,
    held.held_since_date
from branches
left join good on branches.branch_id = good.branch_id
left join held on branches.branch_id = held.branch_id
