{#- Text compared by code points, whatever the database's collation (KPI rule 7). -#}
{% macro postgres__by_code_points(text) -%}
    {{ text }} collate "C"
{%- endmacro %}
