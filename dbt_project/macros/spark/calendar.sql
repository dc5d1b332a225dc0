{#- The session's zone is UTC (kkbc_play.stack.spark), so that an instant's fields are those of UTC until they are moved. -#}
{% macro spark__jakarta_day(instant) -%}
    cast(from_utc_timestamp({{ instant }}, 'Asia/Jakarta') as date)
{%- endmacro %}

{% macro spark__jakarta_instant(day, time) -%}
    to_utc_timestamp(cast(concat(cast({{ day }} as string), ' {{ time }}') as timestamp), 'Asia/Jakarta')
{%- endmacro %}

{#- Spark's add_months clips to the month's end, as PostgreSQL does. -#}
{% macro spark__add_months(day, n) -%}
    add_months({{ day }}, cast({{ n }} as int))
{%- endmacro %}

{#- dbt's own dateadd goes by way of seconds, and stops at a null. -#}
{% macro spark__add_days(day, n) -%}
    date_add({{ day }}, cast({{ n }} as int))
{%- endmacro %}

{#- dbt's own datediff stops at a null. -#}
{% macro spark__days_between(earlier, later) -%}
    datediff({{ later }}, {{ earlier }})
{%- endmacro %}

{% macro spark__month_end(day) -%}
    last_day({{ day }})
{%- endmacro %}

{#- Nothing when the last day is before the first; Spark's sequence would count down or stop. -#}
{% macro spark__day_spine(first_day, last_day) -%}
    select spine.day
    from (
        select explode(sequence({{ first_day }}, greatest({{ first_day }}, {{ last_day }}), interval 1 day)) as day
    ) as spine
    where spine.day <= {{ last_day }}
{%- endmacro %}

{#- Spark counts from Monday as 0. -#}
{% macro spark__iso_weekday(day) -%}
    (weekday({{ day }}) + 1)
{%- endmacro %}
