{#- What this build is about. With the variable `built_as_of`, the day that the marts stand at, a build recomputes what
    the slices touch that arrived since; without it, everything. kkbc.marts.state decides which. -#}

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

{#- The incremental strategy `touched`: rows whose `unique_key` is in the scope become those just computed, in one
    transaction. What is computed to nothing is gone too; a row that is computed as it stands is left alone, so that
    neither its indexes nor a publication hear of it. The scope is the model named by meta.touched_by, which has the
    columns of the key. Without `built_as_of` all rows go. Rows of a model are all different. -#}
{% macro get_incremental_touched_sql(arg_dict) -%}
    {%- set scope = config.get('meta', {}).get('touched_by') -%}
    {%- set key = [arg_dict['unique_key']] if arg_dict['unique_key'] is string else arg_dict['unique_key'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='name') | list -%}
    {%- set goes_on = var('built_as_of', none) -%}
    {%- set by_participant = key == ['participant_token'] -%}
    {#- Rows of participants are found once, and compared by hashing; those of single keys are looked up one by one. -#}
    {%- if goes_on and by_participant -%}
        {%- set in_scope = in_set('standing.participant_token', before(scope), 'participant_token') -%}
    {%- endif -%}
    {%- if not by_participant -%}
    {{ loops_allowed() }};
    {%- endif %}
    delete from {{ arg_dict['target_relation'] }} as standing
    {%- if goes_on %}
    where
        {%- if by_participant %}
        {{ in_scope }}
        {%- else %}
        exists (
            select 1 from {{ before(scope) }} as scope
            where {% for column in key %}scope.{{ column }} = standing.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
        )
        {%- endif %}
        and not exists (
            select 1 from {{ arg_dict['temp_relation'] }} as computed
            where {{ same_row('computed', 'standing', key, columns) }}
        )
    {%- endif %};
    insert into {{ arg_dict['target_relation'] }} ({{ columns | join(', ') }})
    select {{ columns | join(', ') }}
    from {{ arg_dict['temp_relation'] }} as computed
    {%- if goes_on %}
    where not exists (
        select 1 from {{ arg_dict['target_relation'] }} as standing
        where
            {{ same_row('computed', 'standing', key, columns) }}
            {{- ' and ' ~ in_scope if by_participant }}
    )
    {%- endif %}
{%- endmacro %}

{#- Whether rows of two relations have the same `key`, which is never null, and the same in all other `columns`. -#}
{% macro same_row(some, others, key, columns) -%}
    {%- for column in key -%}
        {{ some }}.{{ column }} = {{ others }}.{{ column }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
    {%- for column in columns if column not in key %} and {{ some }}.{{ column }} is not distinct from {{ others }}.{{ column }}
    {%- endfor -%}
{%- endmacro %}

{#- Makes this model wait for the model `name`, which it does not read: that one reads what this one is about to change. -#}
{% macro waits_for(name) -%}
    {%- if not execute -%}
        -- {{ ref(name) }}
    {%- endif -%}
{%- endmacro %}
