-- Open rows, and those that a person resolved: neither is loaded. Closed as accepted means loaded by a retry, closed as
-- superseded that a higher revision is in force.
with quarantine as (
    select * from {{ source('ops', 'quarantine') }}
)

select
    feed,
    branch_id,
    business_date,
    revision,
    line,
    errors
from quarantine
where
    business_date <= {{ as_of() }}
    and coalesce(closed_as, 'resolved') = 'resolved'
