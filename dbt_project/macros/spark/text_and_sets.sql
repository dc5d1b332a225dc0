{#- Spark's strings are compared by bytes of UTF-8, which is by code points. -#}
{% macro spark__by_code_points(text) -%}
    {{ text }}
{%- endmacro %}

{% macro spark__unnest(array) -%}
    explode({{ array }})
{%- endmacro %}

{% macro spark__rows_of_keys(relation, key, touched) -%}
    select standing.*
    from {{ touched }} as touched
    inner join {{ relation }} as standing on touched.branch_id = standing.branch_id and touched.{{ key }} = standing.{{ key }}
{%- endmacro %}

{% macro spark__in_set(column, relation, name) -%}
    {{ column }} in (select touched.{{ name }} from {{ relation }} as touched)
{%- endmacro %}
