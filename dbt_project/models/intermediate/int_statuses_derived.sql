-- What a participant is from which day on and until which (exclusive; null: for good). See Terms and KPI rule 5.
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
    select
        *,
        {{ add_months('coverage_end', 3) }} as lapsed_from
    from {{ ref('int_coverage_merged') }}
    {{ of_touched_participants() }}
),

waiting as (
    select
        registrations.participant_token,
        'belum_aktif' as status,
        registrations.registered_on as valid_from,
        coverage.coverage_start as valid_to
    from registrations
    left join coverage
        on registrations.participant_token = coverage.participant_token and coverage.interval_no = 1
    where
        registrations.is_first
        and (coverage.coverage_start is null or registrations.registered_on < coverage.coverage_start)
),

covered as (
    select
        participant_token,
        'aktif' as status,
        coverage_start as valid_from,
        coverage_end as valid_to
    from coverage
),

overdue as (
    select
        participant_token,
        'menunggak' as status,
        coverage_end as valid_from,
        least(lapsed_from, coalesce(next_start, lapsed_from)) as valid_to
    from coverage
),

lapsed as (
    select
        participant_token,
        'non_aktif' as status,
        lapsed_from as valid_from,
        next_start as valid_to
    from coverage
    where next_start is null or next_start > lapsed_from
)

select participant_token, status, valid_from, valid_to from waiting
union all
select participant_token, status, valid_from, valid_to from covered
union all
select participant_token, status, valid_from, valid_to from overdue
union all
select participant_token, status, valid_from, valid_to from lapsed
