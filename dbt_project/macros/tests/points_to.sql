{#- Rows whose `column_name` names no row of `to`. Like dbt's relationships, but each code is shown once, with `named_by` where
    that is given, and rows of `participants` alone are read, as of_participants says. -#}
{% test points_to(model, column_name, to, field, named_by=none, participants=none) %}
    select distinct
        {%- if named_by and named_by != column_name %}
        pointing.{{ named_by }},
        {%- endif %}
        pointing.{{ column_name }}
    from (
        select * from {{ model }}
        {{ of_participants(participants) }}
    ) as pointing
    left join {{ to }} as target on pointing.{{ column_name }} = target.{{ field }}
    where pointing.{{ column_name }} is not null and target.{{ field }} is null
    order by 1
{% endtest %}

{#- Restricts a test to the rows of the model `participants`, those that a build touches, where marts are brought up to date:
    no other row has changed, nor has what it names, unless the registry has. -#}
{% macro of_participants(participants) -%}
    {%- if participants and var('built_as_of', none) and not var('registry_changed', true) -%}
        where {{ in_set('participant_token', participants, 'participant_token') }}
    {%- endif -%}
{%- endmacro %}
