-- The participants that this build recomputes: those of the touched keys, before and now, those whose coverage starts
-- between the day that the marts stand at and as_of (KPI rule 2), and those whose restriction began or ended. All of a
-- participant is recomputed.
{{ config(pre_hook=loops_allowed()) }}
with registration_keys as (
    select * from {{ ref('int_registration_keys_touched') }}
),

registrations as (
    select * from {{ ref('int_registrations_in_force') }}
),

contribution_keys as (
    select * from {{ ref('int_contribution_keys_touched') }}
),

-- Rows as they were delivered: the payments in force change only when what participants counted for has been read.
-- Twice, for PostgreSQL computes what is named twice as a whole first, and this is all of raw.
delivered as (
    select * from {{ ref('stg_contributions') }}
),

contributions as (
    select * from {{ ref('stg_contributions') }}
),

slices as (
    select * from {{ ref('int_slices_touched') }}
    where feed = 'iuran'
)

select participant_before as participant_token from registration_keys
where participant_before is not null
union
select participant_before as participant_token from contribution_keys
where participant_before is not null
union
select registrations.participant_token
from registration_keys
inner join registrations
    on
        registration_keys.branch_id = registrations.branch_id
        and registration_keys.registration_no = registrations.registration_no
union
select delivered.participant_token
from slices
inner join delivered
    on slices.branch_id = delivered.branch_id and slices.business_date = delivered.business_date
union
select contributions.participant_token
from contribution_keys
inner join contributions
    on contribution_keys.branch_id = contributions.branch_id and contribution_keys.payment_id = contributions.payment_id
where contribution_keys.is_displaced
union
select participant_token
from {{ ref('int_participants_restricted') }}
where is_changed
{% if var('built_as_of', none) -%}
union
select participant_token
from {{ before('int_coverage_merged') }}
where coverage_start > cast('{{ var("built_as_of") }}' as date) and coverage_start <= {{ as_of() }}
{%- endif %}
