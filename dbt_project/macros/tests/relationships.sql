{#- dbt's own test of this name, which can keep to the rows of `participants`, as of_participants says. -#}
{% test relationships(model, column_name, to, field, participants=none) %}
    select pointing.{{ column_name }}
    from (
        select * from {{ model }}
        {{ of_participants(participants) }}
    ) as pointing
    left join {{ to }} as target on pointing.{{ column_name }} = target.{{ field }}
    where pointing.{{ column_name }} is not null and target.{{ field }} is null
{% endtest %}

{#- Restricts a test to the rows of the model `participants`, those that a build touches, where marts are brought up to date:
    no other row has changed, nor has what it names, unless the registry has. -#}
{% macro of_participants(participants) -%}
    {%- if participants and var('built_as_of', none) and not var('registry_changed', true) -%}
        where {{ in_set('participant_token', participants, 'participant_token') }}
    {%- endif -%}
{%- endmacro %}
