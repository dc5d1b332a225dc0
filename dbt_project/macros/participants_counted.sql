{#- All that is counted of the participants that `which` (a where clause) selects, as sums by measure, branch, day and
    code: as they are now, or `as_before` this build. The day is that of the event, or the first of the month where marts
    count by month. What was paid counts by itself, whoever paid it: it is that of `payments`, a query with
    branch_id, paid_on and total_amount.

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
{% macro participants_counted(payments, as_before=false, which='') %}
{%- set relations = [
    ('registrations', 'int_registrations_deduplicated'),
    ('acquisitions', 'fct_acquisition'),
    ('coverage', 'int_coverage_merged'),
    ('attributions', 'int_participants_attributed'),
    ('statuses', 'int_statuses_derived'),
] -%}
with
{% for name, model in relations -%}
{{ name }} as (
    select * from {{ before(model) if as_before else ref(model) }}
    {{ which }}
),

{% endfor -%}
cells as (
    {{ registrations_counted() }}
    union all
    {{ acquisitions_counted() }}
    union all
    {{ retention_counted() }}
    union all
    {{ returns_counted() }}
    union all
    {{ stocks_counted() }}
    union all
    {% call summed() -%}
    select 'contributions_idr' as measure, branch_id, paid_on as day, '' as code, total_amount as amount
    from (
        {{ payments }}
    ) as payments
    {%- endcall %}
)

select
    measure,
    branch_id,
    day,
    code,
    cast(amount as numeric(38, 0)) as amount
from cells
where amount <> 0
{% endmacro %}

{#- The sums of events by measure, branch, day and code. No two measures share a call, so that each is summed by itself: all
    together have more groups than memory holds. -#}
{% macro summed() %}
    select
        measure,
        branch_id,
        day,
        code,
        sum(amount) as amount
    from (
    {{ caller() }}
    ) as events
    group by measure, branch_id, day, code
{% endmacro %}

{#- Of the relations registrations and acquisitions: what counts by the day of a registration. KPI rule 8: coverage
    that started before the registration counts. -#}
{% macro registrations_counted() %}
    {% call summed() -%}
    select 'registrations' as measure, branch_id, registered_on as day, channel_code as code, 1 as amount
    from registrations
    {%- endcall %}
    union all
    {% call summed() -%}
    select 'repeat_registrations' as measure, branch_id, registered_on as day, channel_code as code, 1 as amount
    from registrations
    where is_repeat
    {%- endcall %}
    union all
    {% call summed() -%}
    select 'first_registrations' as measure, branch_id, registered_on as day, channel_code as code, 1 as amount
    from registrations
    where is_first
    {%- endcall %}
    union all
    {% call summed() -%}
    select
        'first_registrations_activated' as measure,
        registrations.branch_id,
        registrations.registered_on as day,
        registrations.channel_code as code,
        1 as amount
    from registrations
    inner join acquisitions on registrations.participant_token = acquisitions.participant_token
    where registrations.is_first and acquisitions.activated_on <= {{ add_days('registrations.registered_on', 30) }}
    {%- endcall %}
    union all
    {% call summed() -%}
    select 'registrations_of_activity' as measure, branch_id, registered_on as day, activity_code as code, 1 as amount
    from registrations
    where activity_code is not null
    {%- endcall %}
    union all
    {% call summed() -%}
    select
        'registrations_of_occupation' as measure,
        branch_id,
        {{ month_start('registered_on') }} as day,
        known_occupation_code as code,
        1 as amount
    from registrations
    {%- endcall %}
{% endmacro %}

{#- Of the relation acquisitions: what counts by the day of activation. -#}
{% macro acquisitions_counted() %}
    {% call summed() -%}
    select 'acquisitions' as measure, branch_id, activated_on as day, channel_code as code, 1 as amount
    from acquisitions
    {%- endcall %}
    union all
    {% call summed() -%}
    select 'activation_days' as measure, branch_id, activated_on as day, channel_code as code, activation_days as amount
    from acquisitions where activation_days is not null
    {%- endcall %}
    union all
    {% call summed() -%}
    select 'activation_days_known' as measure, branch_id, activated_on as day, channel_code as code, 1 as amount
    from acquisitions where activation_days is not null
    {%- endcall %}
    union all
    {% call summed() -%}
    select 'acquisitions_of_activity' as measure, branch_id, activated_on as day, activity_code as code, 1 as amount
    from acquisitions where activity_code is not null
    {%- endcall %}
    union all
    {% call summed() -%}
    select
        'acquisitions_of_occupation' as measure,
        branch_id,
        {{ month_start('activated_on') }} as day,
        known_occupation_code as code,
        1 as amount
    from acquisitions
    {%- endcall %}
{% endmacro %}

{#- Of the relations acquisitions and coverage: who is covered on activated_on + n months, clipped to the month's
    end (KPI rule 14). -#}
{% macro retention_counted() %}
    {% call summed() -%}
    select
        ages.measure,
        acquisitions.branch_id,
        {{ month_start('acquisitions.activated_on') }} as day,
        acquisitions.channel_code as code,
        1 as amount
    from acquisitions
    cross join (
        values (1, 'covered_1'), (3, 'covered_3'), (6, 'covered_6'), (12, 'covered_12')
    ) as ages (month_n, measure)
    inner join coverage
        on
            acquisitions.participant_token = coverage.participant_token
            and {{ add_months('acquisitions.activated_on', 'ages.month_n') }} >= coverage.coverage_start
            and {{ add_months('acquisitions.activated_on', 'ages.month_n') }} < coverage.coverage_end
    {%- endcall %}
{% endmacro %}

{#- Of the relations coverage and attributions: a return belongs to the branch that the participant's status
    counts for on that day (KPI rule 6). -#}
{% macro returns_counted() %}
    {% call summed() -%}
    select
        'reactivations' as measure,
        attributions.branch_id,
        coverage.coverage_start as day,
        '' as code,
        1 as amount
    from coverage
    inner join attributions
        on
            coverage.participant_token = attributions.participant_token
            and coverage.coverage_start >= attributions.valid_from
            and (attributions.valid_to is null or coverage.coverage_start < attributions.valid_to)
    where coverage.is_reactivation
    {%- endcall %}
{% endmacro %}

{#- Of the relations statuses and attributions: who enters and who leaves a stock at the start of a day. No mart
    splits other statuses than aktif by occupation. -#}
{% macro stocks_counted() %}
    {% call summed() -%}
    select
        statuses.status as measure,
        attributions.branch_id,
        greatest(statuses.valid_from, attributions.valid_from) as day,
        case when statuses.status = 'aktif' then attributions.occupation_code else '' end as code,
        1 as amount
    from statuses
    inner join attributions on {{ spells_meet('statuses', 'attributions') }}
    union all
    select
        statuses.status as measure,
        attributions.branch_id,
        -- The one that ends first; null is for good.
        case
            when statuses.valid_to is null then attributions.valid_to
            when attributions.valid_to is null then statuses.valid_to
            else least(statuses.valid_to, attributions.valid_to)
        end as day,
        case when statuses.status = 'aktif' then attributions.occupation_code else '' end as code,
        -1 as amount
    from statuses
    inner join attributions on {{ spells_meet('statuses', 'attributions') }}
    where statuses.valid_to is not null or attributions.valid_to is not null
    {%- endcall %}
{% endmacro %}

{#- Whether spells [valid_from, valid_to) of a participant in two relations have a day in common. -#}
{% macro spells_meet(some, others) -%}
    {{ some }}.participant_token = {{ others }}.participant_token
    and ({{ some }}.valid_to is null or {{ some }}.valid_to > {{ others }}.valid_from)
    and ({{ others }}.valid_to is null or {{ some }}.valid_from < {{ others }}.valid_to)
{%- endmacro %}
