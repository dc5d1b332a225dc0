{#- Whether `column`, a participant, is among those of a table of participants. Of few it is one walk
    through an index on `column`, which the planner would not choose, for it does not know how few they are; of many, one
    reading of the whole. Elsewhere: column in (select ...). -#}
{% macro postgres__in_set(column, relation, name) -%}
    {%- if few_among(relation, 'int_participants_attributed') -%}
        {{ column }} = any(array(select touched.{{ name }} from {{ relation }} as touched))
    {%- else -%}
        {{ column }} in (select touched.{{ name }} from {{ relation }} as touched)
    {%- endif -%}
{%- endmacro %}

{#- Of few keys each is looked up by itself, which the planner may not choose: `offset 0` keeps it from making a join of
    it. Of many it is one reading of the whole. -#}
{% macro postgres__rows_of_keys(relation, key, touched) -%}
    {%- set same_key = 'touched.branch_id = standing.branch_id and touched.' ~ key ~ ' = standing.' ~ key -%}
    {%- if few_among(touched, 'fct_contribution') -%}
        select found.*
        from {{ touched }} as touched
        cross join lateral (
            select * from {{ relation }} as standing
            where {{ same_key }}
            offset 0
        ) as found
    {%- else -%}
        select standing.*
        from {{ touched }} as touched
        inner join {{ relation }} as standing on {{ same_key }}
    {%- endif -%}
{%- endmacro %}

{#- Whether a relation has few rows next to the table `whole` of the same schema: less than one in ten. -#}
{% macro few_among(relation, whole) -%}
    {%- if not execute or flags.WHICH != 'build' -%}
        {{ return(true) }}
    {%- endif -%}
    {%- set counted = run_query(
        "select 10 * (select count(*) from " ~ relation ~ ") < coalesce((select reltuples from pg_class"
        ~ " where oid = to_regclass('" ~ target.schema ~ "." ~ whole ~ "')), 0)"
    ) -%}
    {{ return(counted.rows[0][0]) }}
{%- endmacro %}

{#- Lets a model that looks few keys up in a large table do so by its index; other models may not
    (kkbc.marts.runner.PLANNER). It holds to the end of the model's transaction. -#}
{% macro postgres__loops_allowed() -%}
    set local enable_nestloop = on
{%- endmacro %}

{#- Lets a model join by hashing alone: sorting a million rows by four texts first takes longer. It holds to
    the end of the model's transaction. -#}
{% macro postgres__hash_joins() -%}
    set local enable_mergejoin = off
{%- endmacro %}
