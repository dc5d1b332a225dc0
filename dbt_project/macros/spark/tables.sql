{#- Tables of Spark are Parquet, and those whose rows are of a day are partitioned by its month, a column `_month` that comes
    last. No model names it. Without a day, what is brought up to date is one partition. -#}
{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    create table {{ relation }}
    using parquet
    {%- if month_of_row() %}
    partitioned by (_month)
    {%- endif %}
    as
    {{ with_month(compiled_code) }}
{%- endmacro %}

{#- The rows of a query, with the month that they are kept under. A file a month, or more where it is long. -#}
{% macro with_month(query) -%}
    {%- set month = month_of_row() -%}
    {%- if month -%}
    select /*+ rebalance(_month) */ dated.*
    from (
        select
            made.*,
            {{ month }} as _month
        from (
    {{ query }}
        ) as made
    ) as dated
    {%- else -%}
    {{ query }}
    {%- endif -%}
{%- endmacro %}

{#- The month of a row of this model as text, 2024-01; none for a model that is made anew each time and has no day. -#}
{% macro month_of_row() -%}
    {%- set day = config.get('meta', {}).get('day') -%}
    {%- if day -%}
        {{ return("coalesce(date_format(" ~ day ~ ", 'yyyy-MM'), 'none')") }}
    {%- endif -%}
    {{ return("'all'" if config.get('materialized') == 'incremental' else none) }}
{%- endmacro %}

{#- Delivered rows stay with Spark: each build reads those of the slices that arrived, and puts them in the place of what
    the slice held. `key` is of the slice, as the model names it. Elsewhere the model is a view. -#}
{% macro kept_by_slice(feed, key) -%}
    {%- if target.type == 'spark' -%}
        {{ config(
            materialized='incremental',
            incremental_strategy='touched',
            unique_key=key,
            meta={'day': 'business_date', 'arrived': feed}
        ) }}
    {%- endif -%}
{%- endmacro %}

{#- Tables that are made anew. Spark has no transaction to exchange them in: the one of before goes first, or, for a model
    that reads what it was itself, when the new one is there. -#}
{% materialization table, adapter='spark' %}
    {%- set relation = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set reads_itself = existing is not none and this | string in sql -%}
    {%- set made = relation.incorporate(path={'identifier': relation.identifier ~ '__computed'}) if reads_itself else relation -%}
    {{ run_hooks(pre_hooks) }}
    {%- if reads_itself -%}
        {%- do run_query('drop table if exists ' ~ made) -%}
    {%- elif existing is not none -%}
        {%- do adapter.drop_relation(existing) -%}
    {%- endif -%}
    {%- call statement('main') -%}
        {{ create_table_as(False, made, sql) }}
    {%- endcall -%}
    {%- if reads_itself -%}
        {%- do adapter.drop_relation(existing) -%}
        {%- do run_query('alter table ' ~ made ~ ' rename to ' ~ relation) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [relation]}) }}
{% endmaterialization %}

{#- Incremental models of Spark: Parquet knows no delete, so the months that hold a touched row, or get one, are written
    anew by insert_overwrite; all other months stay as they are. Strategy `touched` is as for PostgreSQL
    (get_incremental_touched_sql), `merge` puts what was computed in the place of rows with its keys. -#}
{% materialization incremental, adapter='spark' %}
    {%- set relation = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {{ run_hooks(pre_hooks) }}
    {%- if existing is none or existing.is_view or should_full_refresh() -%}
        {%- if existing is not none -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- call statement('main') -%}
            {{ create_table_as(False, relation, sql) }}
        {%- endcall -%}
    {%- else -%}
        {%- do overwrite_months(relation, sql) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [relation]}) }}
{% endmaterialization %}

{#- Brings a table up to date by the rows of `query`. -#}
{% macro overwrite_months(relation, query) -%}
    {%- set computed = relation.incorporate(path={'identifier': relation.identifier ~ '__computed'}) -%}
    {%- set key = [config.get('unique_key')] if config.get('unique_key') is string else config.get('unique_key') -%}
    {%- set scope = scope_of_rows(computed) -%}
    {%- set in_scope -%}
        exists (
            select 1 from {{ scope }} as scope
            where {% for column in key %}scope.{{ column }} = standing.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
        )
    {%- endset -%}
    {%- do run_query('drop table if exists ' ~ computed) -%}
    {%- do run_query('create table ' ~ computed ~ ' using parquet as ' ~ with_month(query)) -%}
    {%- set before = months('select distinct _month from ' ~ relation ~ ' as standing where ' ~ in_scope) -%}
    {%- set after = months('select distinct _month from ' ~ computed) -%}
    {%- set touched = (before + after) | unique | sort -%}
    {%- set listed = "('" ~ touched | join("', '") ~ "')" -%}
    {%- set staying = 'from ' ~ relation ~ ' as standing where standing._month in ' ~ listed ~ ' and not ' ~ in_scope -%}
    {%- if touched -%}
        {#- A month of which nothing stays gets no row, and what gets no row is not overwritten. -#}
        {%- set left = after + months('select distinct _month ' ~ staying) -%}
        {%- call statement('main') -%}
            insert overwrite table {{ relation }} partition (_month)
            select /*+ rebalance(_month) */ together.*
            from (
                select standing.* {{ staying }}
                union all
                select * from {{ computed }}
            ) as together
        {%- endcall -%}
        {%- for month in before if month not in left -%}
            {%- do run_query(emptied_month(relation, computed, month)) -%}
        {%- endfor -%}
    {%- else -%}
        {%- call statement('main') -%} select 1 {%- endcall -%}
    {%- endif -%}
    {%- do run_query('drop table ' ~ computed) -%}
{%- endmacro %}

{#- What says which rows of this model are replaced: the model that meta.touched_by names, the slices of a feed that
    arrived, else the computed rows themselves. Without `built_as_of` there is nothing to go on from. -#}
{% macro scope_of_rows(computed) -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- if meta.get('arrived') -%}
        {{ return("(select branch_id, business_date from raw.arrived where feed = '" ~ meta.get('arrived') ~ "')") }}
    {%- endif -%}
    {{ return(before(meta.get('touched_by')) if meta.get('touched_by') else computed) }}
{%- endmacro %}

{#- What a query finds in its one column. -#}
{% macro months(query) -%}
    {{ return(run_query(query).columns[0].values() | list) }}
{%- endmacro %}

{#- Statement that leaves nothing of a month. -#}
{% macro emptied_month(relation, computed, month) -%}
    {%- set columns = adapter.get_columns_in_relation(computed) | map(attribute='name') | reject('equalto', '_month') -%}
    insert overwrite table {{ relation }} partition (_month = '{{ month }}')
    select {{ columns | join(', ') }} from {{ computed }} where 1 = 0
{%- endmacro %}

{#- Checks and keys of the contracts are those of the warehouse, which the rows come to. -#}
{% macro spark__persist_constraints(relation, model) -%}
{%- endmacro %}
