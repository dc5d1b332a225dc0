{#- A schema is named as configured, without the prefix of the target's schema: `staging` for views, else the target's own. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
