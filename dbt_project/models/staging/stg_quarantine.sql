-- Open rows, and those that a person resolved: neither is loaded. Closed as accepted means loaded by a retry, closed as
-- superseded that a higher revision is in force.
select
    feed,
    branch_id,
    business_date,
    revision,
    line,
    errors
from {{ source('ops', 'quarantine') }}
where
    business_date <= {{ as_of() }}
    and coalesce(closed_as, 'resolved') = 'resolved'
