{#- The calendar day in Asia/Jakarta of an instant (KPI rule 1). -#}
{% macro postgres__jakarta_day(instant) -%}
    cast({{ instant }} at time zone 'Asia/Jakarta' as date)
{%- endmacro %}

{#- `day` and `time`, a clock time in Asia/Jakarta, as an instant. -#}
{% macro postgres__jakarta_instant(day, time) -%}
    ({{ day }} + time '{{ time }}') at time zone 'Asia/Jakarta'
{%- endmacro %}

{#- Calendar arithmetic, the day clipped to the month's end: 31 Jan + 1 month is 28 or 29 Feb (KPI rule 5). -#}
{% macro postgres__add_months(day, n) -%}
    cast({{ day }} + make_interval(months => cast({{ n }} as integer)) as date)
{%- endmacro %}

{#- One row a day, both ends included, column `day`. -#}
{% macro postgres__day_spine(first_day, last_day) -%}
    select cast(spine.instant as date) as day
    from generate_series(cast({{ first_day }} as timestamp), cast({{ last_day }} as timestamp), interval '1 day') as spine (instant)
{%- endmacro %}

{#- Day of the week, 1 Monday to 7 Sunday. -#}
{% macro postgres__iso_weekday(day) -%}
    cast(extract(isodow from {{ day }}) as integer)
{%- endmacro %}
