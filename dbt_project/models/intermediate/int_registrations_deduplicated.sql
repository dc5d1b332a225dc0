-- Registrations in force, with their place among those of their participant (KPI rule 8). A void is none, nor is one
-- of a participant under restriction.
{{ waits_for('int_cells_withdrawn') }}
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='participant_token',
    on_schema_change='fail',
    indexes=[{'columns': ['participant_token']}],
    meta={'touched_by': 'int_participants_touched', 'day': 'business_date'}
) }}
with latest as (
    select * from {{ ref('int_registrations_in_force') }}
    {{ of_touched_participants() }}
),

restricted as (
    select participant_token from {{ ref('int_participants_restricted') }}
    where is_restricted
),

occupations as (
    select * from {{ ref('occupations') }}
),

in_force as (
    select
        *,
        {{ jakarta_day('registered_at') }} as registered_on
    from latest
    where record_status <> 'BATAL' and participant_token not in (select restricted.participant_token from restricted)
)

select
    in_force.branch_id,
    in_force.registration_no,
    in_force.participant_token,
    in_force.registered_at,
    in_force.registered_on,
    in_force.birth_year,
    in_force.sex,
    in_force.district_code,
    in_force.occupation_code,
    in_force.program_code,
    in_force.months_covered,
    in_force.channel_code,
    in_force.activity_code,
    in_force.officer_code,
    in_force.segment_code,
    in_force.updated_at,
    in_force.business_date,
    in_force.revision,
    in_force.line,
    coalesce(occupations.code, 'TIDAK_DIKETAHUI') as known_occupation_code,
    in_force.registered_at > min(in_force.registered_at) over (
        partition by in_force.participant_token
    ) as is_repeat,
    row_number() over (
        partition by in_force.participant_token
        order by
            in_force.registered_at,
            {{ by_code_points('in_force.registration_no') }},
            {{ by_code_points('in_force.branch_id') }}
    ) = 1 as is_first,
    row_number() over (
        partition by in_force.participant_token
        order by
            in_force.registered_at desc,
            {{ by_code_points('in_force.registration_no') }} desc,
            {{ by_code_points('in_force.branch_id') }} desc
    ) = 1 as is_latest
from in_force
left join occupations on in_force.occupation_code = occupations.code
