{% macro spark__as_double(value) -%}
    cast({{ value }} as double)
{%- endmacro %}

{#- Spark's decimals end at 38 digits, and fractions of 64-bit integers may differ in the 38th decimal only: so by long
    division, 18 digits at a time, as a struct that orders digit by digit. -#}
{% macro spark__exact_ratio(numerator, denominator) -%}
    {%- set n, d = 'cast(' ~ numerator ~ ' as decimal(19, 0))', 'cast(nullif(' ~ denominator ~ ', 0) as decimal(19, 0))' -%}
    {%- set shift = "cast('1000000000000000000' as decimal(19, 0))" -%}
    {%- set first = n ~ ' % ' ~ d -%}
    {%- set second = 'cast(' ~ first ~ ' as decimal(19, 0)) * ' ~ shift ~ ' % ' ~ d -%}
    {%- set third = 'cast(' ~ second ~ ' as decimal(19, 0)) * ' ~ shift ~ ' % ' ~ d -%}
    case
        when {{ numerator }} is not null and nullif({{ denominator }}, 0) is not null then named_struct(
            'whole', {{ n }} div {{ d }},
            'first', cast({{ first }} as decimal(19, 0)) * {{ shift }} div {{ d }},
            'second', cast({{ second }} as decimal(19, 0)) * {{ shift }} div {{ d }},
            'third', cast({{ third }} as decimal(19, 0)) * {{ shift }} div {{ d }}
        )
    end
{%- endmacro %}
