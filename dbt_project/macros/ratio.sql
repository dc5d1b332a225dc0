{#- numerator / denominator as a rate, null where the denominator is 0 or null. -#}
{% macro ratio(numerator, denominator) -%}
    {{ as_double(numerator) }} / nullif({{ as_double(denominator) }}, 0)
{%- endmacro %}
