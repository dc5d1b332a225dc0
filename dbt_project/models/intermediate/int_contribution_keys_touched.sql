-- Keys whose row in force this build may have to change: those that lie in the touched slices now, and those whose row
-- in force lay in one of them, with the participant of that row. A slice that is revised may leave either out.
{{ config(pre_hook=loops_allowed()) }}
with slices as (
    select * from {{ ref('int_slices_touched') }}
    where feed = 'iuran'
),

contributions as (
    select * from {{ ref('stg_contributions') }}
),

{% if var('built_as_of', none) -%}
in_force as (
    select * from {{ before('int_contributions_in_force') }}
),

delivered as (
    select
        contributions.branch_id,
        contributions.payment_id
    from slices
    inner join contributions
        on slices.branch_id = contributions.branch_id and slices.business_date = contributions.business_date
    union
    select
        in_force.branch_id,
        in_force.payment_id
    from slices
    inner join in_force
        on slices.branch_id = in_force.branch_id and slices.business_date = in_force.business_date
)

select
    delivered.branch_id,
    delivered.payment_id,
    in_force.participant_token as participant_before
from delivered
left join in_force
    on delivered.branch_id = in_force.branch_id and delivered.payment_id = in_force.payment_id
{%- else -%}
delivered as (
    select
        contributions.branch_id,
        contributions.payment_id,
        contributions.participant_token as participant_before
    from slices
    inner join contributions
        on slices.branch_id = contributions.branch_id and slices.business_date = contributions.business_date
)

select * from delivered
where 1 = 0
{%- endif %}
