-- How far each branch stands, and whether that is what the gate holds.
with held as (
    select branch_id, count(*) as slices
    from ops.slice
    where status = 'held' and business_date <= (select as_of from audit.build)
    group by branch_id
)

select
    branch_id as slice,
    mart.last_good_date,
    build.as_of,
    case when ahead.branch_id is null then mart.slices_held end as slices_held,
    coalesce(held.slices, 0) as slices_on_hold
from next.branch_standing as mart
full join held using (branch_id)
left join audit.branches_ahead as ahead using (branch_id)
cross join audit.build
