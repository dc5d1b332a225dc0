-- The days of branches whose slices this build judges again: those of the touched slices, and those that the marts
-- lack, because day or branch are new. All when the registry is another. Nothing when everything is rebuilt.
with branch_days as (
    select * from {{ ref('int_branch_days_spread') }}
),

slices as (
    select * from {{ ref('int_slices_touched') }}
)
{%- if var('built_as_of', none) %},

standing as (
    select * from {{ before('int_branch_days_counted') }}
)

select
    branch_id,
    business_date
from slices
union
select
    branch_days.branch_id,
    branch_days.business_date
from branch_days
left join standing
    on branch_days.branch_id = standing.branch_id and branch_days.business_date = standing.business_date
where standing.branch_id is null
{%- if var('registry_changed', true) %}
union
select
    branch_id,
    business_date
from branch_days
union
select
    branch_id,
    business_date
from standing
{%- endif %}
{%- else %}

select
    slices.branch_id,
    slices.business_date
from slices
inner join branch_days
    on slices.branch_id = branch_days.branch_id and slices.business_date = branch_days.business_date
where 1 = 0
{%- endif %}
