-- What the latest registration says of a participant; one who is known by payment alone has a row with little in it.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='participant_token',
    on_schema_change='fail',
    meta={'touched_by': 'int_participants_touched'}
) }}
with registrations as (
    select * from {{ ref('int_registrations_deduplicated') }}
    {{ of_touched_participants() }}
),

coverage as (
    select * from {{ ref('int_coverage_merged') }}
    {{ of_touched_participants() }}
),

districts as (
    select * from {{ ref('districts') }}
),

latest as (
    select * from registrations
    where is_latest
),

earliest as (
    select * from registrations
    where is_first
),

activated as (
    select * from coverage
    where interval_no = 1
)

select
    coalesce(latest.participant_token, activated.participant_token) as participant_token,
    latest.sex,
    latest.birth_year,
    latest.district_code,
    districts.name as district_name,
    earliest.registered_at as first_registered_at,
    earliest.registered_on as first_registered_on,
    earliest.branch_id as first_branch_id,
    earliest.registration_no as first_registration_no,
    earliest.channel_code as first_channel_code
from latest
inner join earliest on latest.participant_token = earliest.participant_token
full outer join activated on latest.participant_token = activated.participant_token
left join districts on replace(latest.district_code, '.', '') = districts.code
