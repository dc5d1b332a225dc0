-- A branch of the registry that the seed lacks has figures, but no name; it counts in no province and is not ranked.
with branches as (
    select * from {{ ref('dim_branch') }}
)

select branch_id
from branches
where is_registered and province_code is null
order by branch_id
