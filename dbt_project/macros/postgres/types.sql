{#- `value` as a floating-point number of 64 bits, which Spark calls double. -#}
{% macro postgres__as_double(value) -%}
    cast({{ value }} as double precision)
{%- endmacro %}
