-- By how much this build changes the cells: what the touched participants count for now, less what they counted for
-- before. Nothing when everything is rebuilt.
{{ config(pre_hook=hash_joins()) }}
with withdrawn as (
    select * from {{ ref('int_cells_withdrawn') }}
)
{%- if not execute or var('built_as_of', none) %},

counted as (
    {{ participants_counted(
        rows_of_keys(ref('int_contributions_deduplicated'), 'payment_id', ref('int_contribution_keys_touched')),
        which='where ' ~ in_set('participant_token', ref('int_participants_touched'), 'participant_token')
    ) }}
),

changes as (
    select
        coalesce(counted.measure, withdrawn.measure) as measure,
        coalesce(counted.branch_id, withdrawn.branch_id) as branch_id,
        coalesce(counted.day, withdrawn.day) as day,
        coalesce(counted.code, withdrawn.code) as code,
        coalesce(counted.amount, 0) - coalesce(withdrawn.amount, 0) as amount
    from counted
    full join withdrawn
        on
            counted.measure = withdrawn.measure
            and counted.branch_id = withdrawn.branch_id
            and counted.day = withdrawn.day
            and counted.code = withdrawn.code
)

select
    measure,
    branch_id,
    day,
    code,
    cast(amount as numeric(38, 0)) as amount
from changes
where amount <> 0
{%- else %}

select measure, branch_id, day, code, amount from withdrawn
{%- endif %}
