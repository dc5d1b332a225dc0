-- The activities of which this build counts anew what they brought: those whose row in force may change, and those that
-- registrations or acquisitions that changed are credited to.
with keys as (
    select * from {{ ref('int_activity_keys_touched') }}
),

changes as (
    select * from {{ ref('int_cells_changed') }}
    where measure in ('registrations_of_activity', 'acquisitions_of_activity')
)

select
    branch_id,
    activity_code
from keys
union
select
    branch_id,
    code as activity_code
from changes
