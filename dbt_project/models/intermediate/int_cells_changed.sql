-- By how much this build changes the cells: what the touched participants count for now, less what they counted for
-- before. Nothing when everything is rebuilt.
with withdrawn as (
    select * from {{ ref('int_cells_withdrawn') }}
)
{%- if not execute or var('built_as_of', none) %},

counted as (
    {{ participants_counted(
        which='where ' ~ in_set('participant_token', ref('int_participants_touched'), 'participant_token')
    ) }}
)

select
    measure,
    branch_id,
    day,
    code,
    cast(sum(amount) as numeric(38, 0)) as amount
from (
    select measure, branch_id, day, code, amount from counted
    union all
    select measure, branch_id, day, code, -amount as amount from withdrawn
) as changes
group by measure, branch_id, day, code
having sum(amount) <> 0
{%- else %}

select measure, branch_id, day, code, amount from withdrawn
{%- endif %}
