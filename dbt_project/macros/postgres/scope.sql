{#- Whether `column`, a participant, is among those of a table of participants. Of few it is one walk
    through an index on `column`, which the planner would not choose, for it does not know how few they are; of many, one
    reading of the whole. Elsewhere: column in (select ...). -#}
{% macro postgres__in_set(column, relation, name) -%}
    {%- if few_participants(relation) -%}
        {{ column }} = any(array(select touched.{{ name }} from {{ relation }} as touched))
    {%- else -%}
        {{ column }} in (select touched.{{ name }} from {{ relation }} as touched)
    {%- endif -%}
{%- endmacro %}

{#- Whether a table of participants holds few of all: less than one in ten. -#}
{% macro few_participants(relation) -%}
    {%- if not execute or flags.WHICH != 'build' -%}
        {{ return(true) }}
    {%- endif -%}
    {%- set counted = run_query(
        "select 10 * (select count(*) from " ~ relation ~ ") < coalesce((select reltuples from pg_class"
        ~ " where oid = to_regclass('" ~ target.schema ~ ".int_participants_attributed')), 0)"
    ) -%}
    {{ return(counted.rows[0][0]) }}
{%- endmacro %}

{#- Lets a model that looks few keys up in a large table do so by its index; other models may not
    (kkbc.marts.runner.PLANNER). It holds to the end of the model's transaction. -#}
{% macro postgres__loops_allowed() -%}
    set local enable_nestloop = on
{%- endmacro %}

{#- Lets a model join by hashing alone: sorting a million rows by four texts first takes longer. It holds to
    the end of the model's transaction. -#}
{% macro postgres__hash_joins() -%}
    set local enable_mergejoin = off
{%- endmacro %}
