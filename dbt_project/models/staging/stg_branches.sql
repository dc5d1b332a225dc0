with branches as (
    select * from {{ source('ops', 'branch') }}
)

select
    branch_id,
    timezone,
    tier,
    active_from,
    active_to
from branches
