-- Keys whose row in force this build may have to change: those that lie in the touched slices now, and those whose row
-- in force lay in one of them, with the participant of that row. A slice that is revised may leave either out.
{{ config(pre_hook=loops_allowed()) }}
with slices as (
    select * from {{ ref('int_slices_touched') }}
    where feed = 'pendaftaran'
),

registrations as (
    select * from {{ ref('stg_registrations') }}
),

{% if var('built_as_of', none) -%}
in_force as (
    select * from {{ before('int_registrations_in_force') }}
),

delivered as (
    select
        registrations.branch_id,
        registrations.registration_no
    from slices
    inner join registrations
        on slices.branch_id = registrations.branch_id and slices.business_date = registrations.business_date
    union
    select
        in_force.branch_id,
        in_force.registration_no
    from slices
    inner join in_force
        on slices.branch_id = in_force.branch_id and slices.business_date = in_force.business_date
)

select
    delivered.branch_id,
    delivered.registration_no,
    in_force.participant_token as participant_before
from delivered
left join in_force
    on delivered.branch_id = in_force.branch_id and delivered.registration_no = in_force.registration_no
{%- else -%}
delivered as (
    select
        registrations.branch_id,
        registrations.registration_no,
        registrations.participant_token as participant_before
    from slices
    inner join registrations
        on slices.branch_id = registrations.branch_id and slices.business_date = registrations.business_date
)

select * from delivered
where 1 = 0
{%- endif %}
