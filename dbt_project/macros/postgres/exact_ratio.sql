{#- numerator / denominator to 50 decimals, null for a denominator of 0: fractions of 64-bit integers that
    are equal come out equal, others do not (KPI rule 12). -#}
{% macro postgres__exact_ratio(numerator, denominator) -%}
    round(cast({{ numerator }} as numeric(100, 50)) / nullif({{ denominator }}, 0), 50)
{%- endmacro %}
