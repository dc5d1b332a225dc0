{#- PostgreSQL only. One row for each element of an array column. -#}
{% macro unnest(array) -%}
    unnest({{ array }})
{%- endmacro %}
