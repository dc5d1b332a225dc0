-- By how much the number of participants of a status changes at the start of a day. A stock is the running sum of
-- its changes: nobody is counted day by day, so a long history costs no more than its intervals.
with statuses as (
    select * from {{ ref('int_statuses_derived') }}
),

attributions as (
    select * from {{ ref('int_participants_attributed') }}
),

spells as (
    select
        attributions.branch_id,
        attributions.occupation_code,
        statuses.status,
        greatest(statuses.valid_from, attributions.valid_from) as valid_from,
        case
            when statuses.valid_to is null then attributions.valid_to
            when attributions.valid_to is null then statuses.valid_to
            else least(statuses.valid_to, attributions.valid_to)
        end as valid_to
    from statuses
    inner join attributions
        on
            statuses.participant_token = attributions.participant_token
            and (statuses.valid_to is null or statuses.valid_to > attributions.valid_from)
            and (attributions.valid_to is null or statuses.valid_from < attributions.valid_to)
),

changes as (
    select branch_id, occupation_code, status, valid_from as day, 1 as change from spells
    union all
    select branch_id, occupation_code, status, valid_to as day, -1 as change from spells
    where valid_to is not null
)

select
    branch_id,
    occupation_code,
    status,
    day,
    sum(change) as change
from changes
where day <= {{ as_of() }}
group by branch_id, occupation_code, status, day
having sum(change) <> 0
