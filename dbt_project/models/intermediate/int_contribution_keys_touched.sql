-- The payments whose row in force this build may have to change, with the participant, instant and amount of it before.
-- Those of participants whose restriction began or ended are among them: they go from the facts, or come back.
{{ config(pre_hook=loops_allowed()) }}
with touched as (
    {{ keys_touched(
        'iuran',
        delivered='stg_contributions',
        in_force='int_contributions_in_force',
        key='payment_id',
        also={
            'participant_token': 'participant_before',
            'paid_at': 'paid_at_before',
            'total_amount': 'amount_before',
        }
    ) }}
),

restrictions as (
    select * from {{ ref('int_participants_restricted') }}
    where is_changed
),

slices as (
    select * from {{ ref('int_slices_touched') }}
    where feed = 'iuran'
)

select * from touched
{%- if var('built_as_of', none) %}
union
select
    in_force.branch_id,
    in_force.payment_id,
    in_force.participant_token as participant_before,
    in_force.paid_at as paid_at_before,
    in_force.total_amount as amount_before,
    in_force.business_date as business_date_before,
    slices.branch_id is not null as is_displaced
from restrictions
inner join {{ before('int_contributions_in_force') }} as in_force
    on restrictions.participant_token = in_force.participant_token
left join slices
    on in_force.branch_id = slices.branch_id and in_force.business_date = slices.business_date
{%- endif %}
