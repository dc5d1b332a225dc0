-- Open rows, those that a person resolved, and those of persons who were erased: none is loaded. Closed as accepted
-- means loaded by a retry, closed as superseded that a higher revision is in force.
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
    and coalesce(closed_as, 'resolved') in ('resolved', 'erased')
