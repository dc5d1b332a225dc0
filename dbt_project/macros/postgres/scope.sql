{#- PostgreSQL only. Whether `column` is among those of a small table: one walk through an index on `column`, whatever
    the planner thinks of loops. Elsewhere: column in (select ...). -#}
{% macro in_set(column, relation, name) -%}
    {{ column }} = any(array(select touched.{{ name }} from {{ relation }} as touched))
{%- endmacro %}

{#- PostgreSQL only. Lets a model that looks few keys up in a large table do so by its index; other models may not
    (kkbc.marts.build.PLANNER). It holds to the end of the model's transaction. -#}
{% macro loops_allowed() -%}
    set local enable_nestloop = on
{%- endmacro %}
