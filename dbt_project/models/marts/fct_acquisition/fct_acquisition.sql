-- A participant's first coverage start ever, and whom it is credited to (KPI rule 7).
-- Starts after as_of do not count yet (KPI rule 2).
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='participant_token',
    on_schema_change='fail',
    meta={'touched_by': 'int_participants_touched'},
    post_hook=analyzed()
) }}
with coverage as (
    select * from {{ ref('int_coverage_merged') }}
    {{ of_touched_participants() }}
),

registrations as (
    select * from {{ ref('int_registrations_deduplicated') }}
    {{ of_touched_participants() }}
),

acquired as (
    select
        participant_token,
        coverage_start as activated_on,
        activating_branch_id as payment_branch_id,
        activating_payment_id as payment_id
    from coverage
    where interval_no = 1 and coverage_start <= {{ as_of() }}
),

candidates as (
    select
        acquired.activated_on,
        registrations.*,
        row_number() over (
            partition by acquired.participant_token
            order by
                case when registrations.registered_on <= acquired.activated_on then 0 else 1 end,
                -- Up to activation the latest instant comes first, after it the earliest.
                case
                    when registrations.registered_on <= acquired.activated_on then registrations.registered_at
                end desc,
                registrations.registered_at,
                {{ by_code_points('registrations.registration_no') }} desc,
                {{ by_code_points('registrations.branch_id') }} desc
        ) as preference
    from acquired
    inner join registrations on acquired.participant_token = registrations.participant_token
),

credited as (
    select * from candidates
    where preference = 1
)

select
    acquired.participant_token,
    acquired.activated_on,
    coalesce(credited.branch_id, acquired.payment_branch_id) as branch_id,
    coalesce(credited.channel_code, 'TIDAK_DIKETAHUI') as channel_code,
    credited.activity_code,
    credited.officer_code,
    credited.occupation_code,
    coalesce(credited.known_occupation_code, 'TIDAK_DIKETAHUI') as known_occupation_code,
    credited.segment_code,
    credited.registration_no,
    credited.registered_on,
    case
        when credited.registered_on <= acquired.activated_on
            then {{ days_between('credited.registered_on', 'acquired.activated_on') }}
    end as activation_days,
    acquired.payment_branch_id,
    acquired.payment_id
from acquired
left join credited on acquired.participant_token = credited.participant_token
