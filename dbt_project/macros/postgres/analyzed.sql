{# PostgreSQL only. A table that was just made has no statistics, and a plan without them may take minutes where one
   with them takes a second; autovacuum would come too late for the next model. #}
{% macro analyzed() -%}
    analyze {{ this }}
{%- endmacro %}
