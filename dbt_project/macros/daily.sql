{#- The day that a cell counts on in the daily marts: that of the event, or the one on which a first registration is due
    (KPI rule 8). -#}
{% macro day_counted() -%}
    case
        when measure in ('first_registrations', 'first_registrations_activated') then {{ add_days('day', 30) }}
        else day
    end
{%- endmacro %}

{#- What the daily marts say of the rows of `activities`, by branch and day. -#}
{% macro activities_held(activities) -%}
    select
        branch_id,
        started_on as business_date,
        count(*) as activities,
        sum(contacts) as contacts,
        sum(cost) as activity_cost_idr
    from {{ activities }}
    group by branch_id, started_on
{%- endmacro %}

{#- Of each branch the first day in the relation `days`, columns branch_id and business_date. -#}
{% macro first_days(days) -%}
    select
        branch_id,
        min(business_date) as first_day
    from {{ days }}
    group by branch_id
{%- endmacro %}

{#- Cells of these measures that the daily marts count from a branch's `first_day` on, a column of `first_days`, where they
    are brought up to date and not rebuilt: what is older is in the figures of the day before. What is older than the
    first day of all is not, and is left in. -#}
{% macro cells_since(first_days, measures) -%}
    select cells.*
    from {{ ref('int_cells_counted') }} as cells
    {%- if not execute or (var('built_as_of', none) and is_incremental()) %}
    inner join {{ first_days }}
        on
            cells.branch_id = {{ first_days }}.branch_id
            and cells.day >= case
                when {{ first_days }}.first_day <= {{ first_business_date() }} then cast('0001-01-01' as date)
                else {{ add_days(first_days ~ '.first_day', -30) }}
            end
    {%- endif %}
    where cells.measure in ('{{ measures | join("', '") }}')
{%- endmacro %}

{#- The figures of this model for the day before a branch's `first_day`, a column of `first_days`, where it is brought up to
    date and not rebuilt. -#}
{% macro days_before(first_days) -%}
    {%- if not execute or (var('built_as_of', none) and is_incremental()) %}
    select standing.*
    from {{ this }} as standing
    inner join {{ first_days }}
        on
            standing.branch_id = {{ first_days }}.branch_id
            and standing.business_date = {{ add_days(first_days ~ '.first_day', -1) }}
    {%- else %}
    select
        branch_id,
        first_day as business_date,
        0 as aktif,
        0 as menunggak,
        0 as non_aktif,
        0 as belum_aktif,
        0 as acquisitions_mtd
    from {{ first_days }}
    where 1 = 0
    {%- endif %}
{%- endmacro %}
