-- For which branch and occupation a participant counts from which day on and until which (exclusive; null: for good):
-- those of the latest registration up to the day, before any registration the branch of the first payment.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='participant_token',
    on_schema_change='fail',
    indexes=[{'columns': ['participant_token']}],
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

latest_of_day as (
    select
        *,
        row_number() over (
            partition by participant_token, registered_on
            order by
                registered_at desc,
                {{ by_code_points('registration_no') }} desc,
                {{ by_code_points('branch_id') }} desc
        ) as recency
    from registrations
),

by_registration as (
    select
        participant_token,
        branch_id,
        known_occupation_code as occupation_code,
        registered_on as valid_from,
        lead(registered_on) over (partition by participant_token order by registered_on) as valid_to
    from latest_of_day
    where recency = 1
),

by_payment as (
    select
        coverage.participant_token,
        coverage.first_paid_branch_id as branch_id,
        'TIDAK_DIKETAHUI' as occupation_code,
        coverage.coverage_start as valid_from,
        registrations.registered_on as valid_to
    from coverage
    left join registrations
        on coverage.participant_token = registrations.participant_token and registrations.is_first
    where
        coverage.interval_no = 1
        and (registrations.registered_on is null or coverage.coverage_start < registrations.registered_on)
)

select participant_token, branch_id, occupation_code, valid_from, valid_to from by_registration
union all
select participant_token, branch_id, occupation_code, valid_from, valid_to from by_payment
