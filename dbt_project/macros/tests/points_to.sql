{#- Rows whose `column_name` names no row of `to`, named by `named_by`. Like dbt's relationships, which names the code alone. -#}
{% test points_to(model, column_name, to, field, named_by) %}
    select distinct
        {%- if named_by != column_name %}
        pointing.{{ named_by }},
        {%- endif %}
        pointing.{{ column_name }}
    from {{ model }} as pointing
    left join {{ to }} as target on pointing.{{ column_name }} = target.{{ field }}
    where pointing.{{ column_name }} is not null and target.{{ field }} is null
    order by 1
{% endtest %}
