with registrations as (
    select * from {{ ref('int_registrations_deduplicated') }}
),

acquisitions as (
    select * from {{ ref('int_acquisitions_credited') }}
),

-- KPI rule 8: due 30 days after the first registration, at its branch and channel.
due as (
    select
        registrations.branch_id,
        registrations.channel_code,
        {{ add_days('registrations.registered_on', 30) }} as business_date,
        case
            when acquisitions.activated_on <= {{ add_days('registrations.registered_on', 30) }} then 1 else 0
        end as activated_30d
    from registrations
    left join acquisitions on registrations.participant_token = acquisitions.participant_token
    where registrations.is_first and registrations.registered_on >= {{ first_business_date() }}
),

events as (
    select
        branch_id,
        channel_code,
        registered_on as business_date,
        1 as registrations,
        0 as acquisitions,
        0 as activation_days,
        0 as activation_days_known,
        0 as activated_30d,
        0 as registrations_30d_due
    from registrations
    union all
    select
        branch_id,
        channel_code,
        activated_on as business_date,
        0 as registrations,
        1 as acquisitions,
        coalesce(activation_days, 0) as activation_days,
        case when activation_days is null then 0 else 1 end as activation_days_known,
        0 as activated_30d,
        0 as registrations_30d_due
    from acquisitions
    union all
    select
        branch_id,
        channel_code,
        business_date,
        0 as registrations,
        0 as acquisitions,
        0 as activation_days,
        0 as activation_days_known,
        activated_30d,
        1 as registrations_30d_due
    from due
)

select
    branch_id,
    channel_code,
    business_date,
    sum(registrations) as registrations,
    sum(acquisitions) as acquisitions,
    sum(activation_days) as activation_days_sum,
    sum(activation_days_known) as activation_days_count,
    sum(activated_30d) as activated_30d,
    sum(registrations_30d_due) as registrations_30d_due
from events
where business_date between {{ first_business_date() }} and {{ as_of() }}
group by branch_id, channel_code, business_date
