{#- The day a build is for (KPI rule 2): the latest business date whose due time has passed. -#}
{% macro as_of() -%}
    {{ required_day('as_of') }}
{%- endmacro %}

{#- The first day of the daily marts (KPI rule 2). -#}
{% macro first_business_date() -%}
    {{ required_day('first_business_date') }}
{%- endmacro %}

{#- The variable `name` as a date literal; without it a build stops, a mere parse does not. -#}
{% macro required_day(name) -%}
    {%- if execute and var(name, none) is none -%}
        {{ exceptions.raise_compiler_error("variable " ~ name ~ " is not set: give it with --vars '{" ~ name ~ ": YYYY-MM-DD}'") }}
    {%- endif -%}
    cast('{{ var(name, "2000-01-01") }}' as date)
{%- endmacro %}

{#- The date `n` days after `day`; `n` is a number or an expression. -#}
{% macro add_days(day, n) -%}
    {{ adapter.dispatch('add_days')(day, n) }}
{%- endmacro %}

{% macro default__add_days(day, n) -%}
    cast({{ dbt.dateadd('day', n, day) }} as date)
{%- endmacro %}

{#- Whole days from `earlier` to `later`, negative when they are the other way round. -#}
{% macro days_between(earlier, later) -%}
    {{ adapter.dispatch('days_between')(earlier, later) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    {{ dbt.datediff(earlier, later, 'day') }}
{%- endmacro %}

{#- The first day of the month that holds `day`. -#}
{% macro month_start(day) -%}
    cast({{ dbt.date_trunc('month', day) }} as date)
{%- endmacro %}

{#- The last day of the month that holds `day`. -#}
{% macro month_end(day) -%}
    {{ adapter.dispatch('month_end')(day) }}
{%- endmacro %}

{% macro default__month_end(day) -%}
    {{ dbt.last_day(day, 'month') }}
{%- endmacro %}
