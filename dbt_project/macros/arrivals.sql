{#- What this build is about. With the variable `built_as_of`, the day that the marts stand at, a build recomputes what
    the slices touch that arrived since; without it, everything. kkbc.marts.build decides which. -#}

{#- The model `name` as the build before left it. It is no ref: `name` itself is built later on in the same build. -#}
{% macro before(name) -%}
    {{ this.incorporate(path={"identifier": name}) }}
{%- endmacro %}

{#- Restricts rows to the participants that this build touches, where a model is brought up to date and not rebuilt. -#}
{% macro of_touched_participants(clause='where', column='participant_token') -%}
    {%- if not execute or (var('built_as_of', none) and is_incremental()) -%}
        {{ clause }} {{ in_set(column, ref('int_participants_touched'), 'participant_token') }}
    {%- endif -%}
{%- endmacro %}

{#- The incremental strategy `touched`: rows whose `unique_key` is in the scope go, those just computed come, in one
    transaction. So what is computed to nothing is gone too. The scope is the model named by meta.touched_by, which has
    the columns of the key; without it the computed rows themselves. Without `built_as_of` all rows go. -#}
{% macro get_incremental_touched_sql(arg_dict) -%}
    {%- set scope = config.get('meta', {}).get('touched_by') -%}
    {%- set key = [arg_dict['unique_key']] if arg_dict['unique_key'] is string else arg_dict['unique_key'] -%}
    {{ loops_allowed() }};
    delete from {{ arg_dict['target_relation'] }} as standing
    {%- if var('built_as_of', none) %}
    where exists (
        select 1 from {{ before(scope) if scope else arg_dict['temp_relation'] }} as scope
        where {% for column in key %}scope.{{ column }} = standing.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
    )
    {%- endif %};
    {{ get_insert_into_sql(arg_dict['target_relation'], arg_dict['temp_relation'], arg_dict['dest_columns']) }}
{%- endmacro %}

{#- Makes this model wait for the model `name`, which it does not read: that one reads what this one is about to change. -#}
{% macro waits_for(name) -%}
    {%- if not execute -%}
        -- {{ ref(name) }}
    {%- endif -%}
{%- endmacro %}
