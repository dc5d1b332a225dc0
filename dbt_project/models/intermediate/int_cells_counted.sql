-- All that the marts count of participants, as sums: those of before, less what the touched participants counted for,
-- plus what they count for now. Whole numbers, so that nothing is lost on the way; cells that fell to 0 stay.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['measure', 'branch_id', 'day', 'code'],
    on_schema_change='fail',
    indexes=[{'columns': ['measure', 'branch_id', 'day', 'code'], 'unique': true}]
) }}
with counted as (
    {{ participants_counted(which=of_touched_participants()) }}
)

{% if not execute or (var('built_as_of', none) and is_incremental()) -%}
, changed as (
    select
        measure,
        branch_id,
        day,
        code,
        sum(amount) as change
    from (
        select measure, branch_id, day, code, amount from counted
        union all
        select measure, branch_id, day, code, -amount as amount from {{ ref('int_cells_withdrawn') }}
    ) as changes
    group by measure, branch_id, day, code
    having sum(amount) <> 0
)

select
    changed.measure,
    changed.branch_id,
    changed.day,
    changed.code,
    cast(coalesce(standing.amount, 0) + changed.change as numeric(38, 0)) as amount
from changed
left join {{ this }} as standing
    on
        changed.measure = standing.measure
        and changed.branch_id = standing.branch_id
        and changed.day = standing.day
        and changed.code = standing.code
{%- else -%}
select * from counted
{%- endif %}
