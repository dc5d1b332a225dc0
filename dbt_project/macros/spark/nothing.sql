{#- What PostgreSQL's planner has to be told, and Spark's need not be. -#}
{% macro spark__loops_allowed() -%}
{%- endmacro %}

{% macro spark__hash_joins() -%}
{%- endmacro %}

{% macro spark__analyzed() -%}
{%- endmacro %}
