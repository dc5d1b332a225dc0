{#- dbt's own test of this name, which can keep to what a build touches, where marts are brought up to date: to the rows of
    the participants, or the payments, of the model `touched`. No other row has changed, nor has what it names, unless the
    registry has. -#}
{% test relationships(model, column_name, to, field, touched=none) %}
    select pointing.{{ column_name }}
    from (
        {%- if touched and touched.identifier == 'int_contribution_keys_touched' and registry_stands() %}
        {{ rows_of_keys(model, 'payment_id', touched) }}
        {%- else %}
        select * from {{ model }}
        {{ of_participants(touched) }}
        {%- endif %}
    ) as pointing
    left join {{ to }} as target on pointing.{{ column_name }} = target.{{ field }}
    where pointing.{{ column_name }} is not null and target.{{ field }} is null
{% endtest %}

{#- Restricts a test to the rows of the model `participants`, as above. -#}
{% macro of_participants(participants) -%}
    {%- if participants and registry_stands() -%}
        where {{ in_set('participant_token', participants, 'participant_token') }}
    {%- endif -%}
{%- endmacro %}

{#- Whether marts are brought up to date, and what they refer to is as it was. -#}
{% macro registry_stands() -%}
    {{ return(var('built_as_of', none) and not var('registry_changed', true)) }}
{%- endmacro %}
