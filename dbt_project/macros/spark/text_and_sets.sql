{#- Spark's strings are compared by bytes of UTF-8, which is by code points. -#}
{% macro spark__by_code_points(text) -%}
    {{ text }}
{%- endmacro %}

{% macro spark__unnest(array) -%}
    explode({{ array }})
{%- endmacro %}

{% macro spark__in_set(column, relation, name) -%}
    {{ column }} in (select touched.{{ name }} from {{ relation }} as touched)
{%- endmacro %}
