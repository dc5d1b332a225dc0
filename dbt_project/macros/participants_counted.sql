{#- All that is counted of participants, as sums by measure, branch, day and code; the five relations hold everything of
    the participants to be counted. The day is that of the event, or the first of the month where marts count by month.

    measure                                       day                     code          amount
    registrations, repeat_registrations           registered_on           channel       1
    first_registrations                           registered_on           channel       1
    first_registrations_activated                 registered_on           channel       1 if covered up to 30 days later
    registrations_of_activity                     registered_on           activity      1
    registrations_of_occupation                   month of registered_on  occupation    1
    acquisitions                                  activated_on            channel       1
    activation_days, activation_days_known        activated_on            channel       days; 1
    acquisitions_of_activity                      activated_on            activity      1
    acquisitions_of_occupation                    month of activated_on   occupation    1
    covered_1, covered_3, covered_6, covered_12   month of activated_on   channel       1 if covered n months later
    reactivations                                 coverage_start          none          1
    aktif                                         of the change           occupation    1 who enters, -1 who leaves
    menunggak, non_aktif, belum_aktif             of the change           none          1 who enters, -1 who leaves
    contributions_idr                             paid_on                 none          total_amount
-#}
{% macro participants_counted(registrations, acquisitions, coverage, attributions, statuses, contributions, which='') %}
with registrations as (
    select * from {{ registrations }} {{ which }}
),

acquisitions as (
    select * from {{ acquisitions }} {{ which }}
),

coverage as (
    select * from {{ coverage }} {{ which }}
),

attributions as (
    select * from {{ attributions }} {{ which }}
),

statuses as (
    select * from {{ statuses }} {{ which }}
),

contributions as (
    select * from {{ contributions }} {{ which }}
),

registered as (
    select
        registrations.branch_id,
        registrations.registered_on,
        registrations.channel_code,
        registrations.activity_code,
        registrations.known_occupation_code,
        registrations.is_first,
        registrations.is_repeat,
        -- KPI rule 8: coverage that started before the registration counts.
        registrations.is_first
        and acquisitions.activated_on <= {{ add_days('registrations.registered_on', 30) }} as is_activated
    from registrations
    left join acquisitions on registrations.participant_token = acquisitions.participant_token
),

-- KPI rule 14: covered on activated_on + n months, clipped to the month's end.
retained as (
    select
        acquisitions.branch_id,
        acquisitions.channel_code,
        acquisitions.activated_on,
        ages.measure
    from acquisitions
    cross join (
        values (1, 'covered_1'), (3, 'covered_3'), (6, 'covered_6'), (12, 'covered_12')
    ) as ages (month_n, measure)
    inner join coverage
        on
            acquisitions.participant_token = coverage.participant_token
            and {{ add_months('acquisitions.activated_on', 'ages.month_n') }} >= coverage.coverage_start
            and {{ add_months('acquisitions.activated_on', 'ages.month_n') }} < coverage.coverage_end
),

-- KPI rule 6: a return belongs to the branch that the participant's status counts for on that day.
returned as (
    select
        attributions.branch_id,
        coverage.coverage_start
    from coverage
    inner join attributions
        on
            coverage.participant_token = attributions.participant_token
            and coverage.coverage_start >= attributions.valid_from
            and (attributions.valid_to is null or coverage.coverage_start < attributions.valid_to)
    where coverage.is_reactivation
),

spells as (
    select
        attributions.branch_id,
        statuses.status,
        -- No mart splits the others by occupation.
        case when statuses.status = 'aktif' then attributions.occupation_code else '' end as code,
        greatest(statuses.valid_from, attributions.valid_from) as valid_from,
        case
            when statuses.valid_to is null then attributions.valid_to
            when attributions.valid_to is null then statuses.valid_to
            else least(statuses.valid_to, attributions.valid_to)
        end as valid_to
    from statuses
    inner join attributions
        on
            statuses.participant_token = attributions.participant_token
            and (statuses.valid_to is null or statuses.valid_to > attributions.valid_from)
            and (attributions.valid_to is null or statuses.valid_from < attributions.valid_to)
),

events as (
    select 'registrations' as measure, branch_id, registered_on as day, channel_code as code, 1 as amount
    from registered
    union all
    select 'repeat_registrations' as measure, branch_id, registered_on as day, channel_code as code, 1 as amount
    from registered where is_repeat
    union all
    select 'first_registrations' as measure, branch_id, registered_on as day, channel_code as code, 1 as amount
    from registered where is_first
    union all
    select 'first_registrations_activated' as measure, branch_id, registered_on as day, channel_code as code, 1 as amount
    from registered where is_activated
    union all
    select 'registrations_of_activity' as measure, branch_id, registered_on as day, activity_code as code, 1 as amount
    from registered where activity_code is not null
    union all
    select
        'registrations_of_occupation' as measure,
        branch_id,
        {{ month_start('registered_on') }} as day,
        known_occupation_code as code,
        1 as amount
    from registered
    union all
    select 'acquisitions' as measure, branch_id, activated_on as day, channel_code as code, 1 as amount
    from acquisitions
    union all
    select 'activation_days' as measure, branch_id, activated_on as day, channel_code as code, activation_days as amount
    from acquisitions where activation_days is not null
    union all
    select 'activation_days_known' as measure, branch_id, activated_on as day, channel_code as code, 1 as amount
    from acquisitions where activation_days is not null
    union all
    select 'acquisitions_of_activity' as measure, branch_id, activated_on as day, activity_code as code, 1 as amount
    from acquisitions where activity_code is not null
    union all
    select
        'acquisitions_of_occupation' as measure,
        branch_id,
        {{ month_start('activated_on') }} as day,
        known_occupation_code as code,
        1 as amount
    from acquisitions
    union all
    select measure, branch_id, {{ month_start('activated_on') }} as day, channel_code as code, 1 as amount
    from retained
    union all
    select 'reactivations' as measure, branch_id, coverage_start as day, '' as code, 1 as amount
    from returned
    union all
    select status as measure, branch_id, valid_from as day, code, 1 as amount
    from spells
    union all
    select status as measure, branch_id, valid_to as day, code, -1 as amount
    from spells where valid_to is not null
    union all
    select 'contributions_idr' as measure, branch_id, paid_on as day, '' as code, total_amount as amount
    from contributions
)

select
    measure,
    branch_id,
    day,
    code,
    cast(sum(amount) as numeric(38, 0)) as amount
from events
group by measure, branch_id, day, code
having sum(amount) <> 0
{% endmacro %}
