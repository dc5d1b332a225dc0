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
    and closed_at is null
