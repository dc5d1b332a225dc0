-- Exchange rule 1: the latest state of a key is in force, and is no activity when it voids the key.
with activities as (
    select * from {{ ref('stg_activities') }}
),

ranked as (
    select
        *,
        row_number() over (
            partition by branch_id, activity_code
            order by updated_at desc, business_date desc, line desc
        ) as recency
    from activities
)

select
    branch_id,
    activity_code,
    activity_type,
    activity_name,
    started_at,
    ended_at,
    {{ jakarta_day('started_at') }} as started_on,
    {{ jakarta_day('ended_at') }} as ended_on,
    place,
    district_code,
    target_occupation,
    contacts,
    cost,
    radio_station,
    duration_min,
    updated_at,
    business_date,
    revision,
    line
from ranked
where recency = 1 and record_status <> 'BATAL'
