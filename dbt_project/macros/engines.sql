{#- What the engines write differently. Each macro here is one of macros/postgres or macros/spark, which dbt chooses by the
    target; models name these alone. -#}

{#- The calendar day in Asia/Jakarta of an instant (KPI rule 1). -#}
{% macro jakarta_day(instant) -%}
    {{ adapter.dispatch('jakarta_day')(instant) }}
{%- endmacro %}

{#- `day` and `time`, a clock time in Asia/Jakarta, as an instant. -#}
{% macro jakarta_instant(day, time) -%}
    {{ adapter.dispatch('jakarta_instant')(day, time) }}
{%- endmacro %}

{#- Calendar arithmetic, the day clipped to the month's end: 31 Jan + 1 month is 28 or 29 Feb (KPI rule 5). -#}
{% macro add_months(day, n) -%}
    {{ adapter.dispatch('add_months')(day, n) }}
{%- endmacro %}

{#- One row a day, both ends included, column `day`. -#}
{% macro day_spine(first_day, last_day) -%}
    {{ adapter.dispatch('day_spine')(first_day, last_day) }}
{%- endmacro %}

{#- Day of the week, 1 Monday to 7 Sunday. -#}
{% macro iso_weekday(day) -%}
    {{ adapter.dispatch('iso_weekday')(day) }}
{%- endmacro %}

{#- `value` as a floating-point number of 64 bits. -#}
{% macro as_double(value) -%}
    {{ adapter.dispatch('as_double')(value) }}
{%- endmacro %}

{#- numerator / denominator, in a form that orders as the fractions do, and in which those that are equal are equal and
    others are not; null for a denominator of 0 (KPI rule 12). -#}
{% macro exact_ratio(numerator, denominator) -%}
    {{ adapter.dispatch('exact_ratio')(numerator, denominator) }}
{%- endmacro %}

{#- Text compared by code points, whatever the engine's collation (KPI rule 7). -#}
{% macro by_code_points(text) -%}
    {{ adapter.dispatch('by_code_points')(text) }}
{%- endmacro %}

{#- One row for each element of an array column. -#}
{% macro unnest(array) -%}
    {{ adapter.dispatch('unnest')(array) }}
{%- endmacro %}

{#- Whether `column`, a participant, is among those of a table of participants. -#}
{% macro in_set(column, relation, name) -%}
    {{ adapter.dispatch('in_set')(column, relation, name) }}
{%- endmacro %}

{#- The rows of a relation whose key (branch_id, `key`) is in the relation `touched`, as a query. -#}
{% macro rows_of_keys(relation, key, touched) -%}
    {{ adapter.dispatch('rows_of_keys')(relation, key, touched) }}
{%- endmacro %}

{#- Statement before a model that looks few keys up in a large table. -#}
{% macro loops_allowed() -%}
    {{ adapter.dispatch('loops_allowed')() }}
{%- endmacro %}

{#- Statement before a model that joins large tables by many columns. -#}
{% macro hash_joins() -%}
    {{ adapter.dispatch('hash_joins')() }}
{%- endmacro %}

{#- Statement after a table was made, for the plans of those that read it. -#}
{% macro analyzed() -%}
    {{ adapter.dispatch('analyzed')() }}
{%- endmacro %}
