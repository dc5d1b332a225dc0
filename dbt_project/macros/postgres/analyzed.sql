{# A table that was just made has no statistics, and a plan without them may take minutes where one
   with them takes a second; autovacuum would come too late for the next model. One that was brought up to date has
   those of before, and autovacuum sees to it. #}
{% macro postgres__analyzed() -%}
    {%- if not (var('built_as_of', none) and is_incremental()) -%}
        analyze {{ this }}
    {%- endif -%}
{%- endmacro %}
