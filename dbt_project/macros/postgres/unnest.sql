{#- One row for each element of an array column. -#}
{% macro postgres__unnest(array) -%}
    unnest({{ array }})
{%- endmacro %}
