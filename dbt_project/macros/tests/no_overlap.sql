{#- Spells [valid_from, valid_to) of one entity that are empty or reach into the next one; valid_to null is for good. Of
    `participants` alone, as of_participants says. -#}
{% test no_overlap(model, entity, valid_from, valid_to, participants=none) %}
    with spells as (
        select
            {{ entity }} as entity,
            {{ valid_from }} as valid_from,
            {{ valid_to }} as valid_to,
            lead({{ valid_from }}) over (partition by {{ entity }} order by {{ valid_from }}) as next_from
        from {{ model }}
        {{ of_participants(participants) }}
    )

    select *
    from spells
    where
        valid_to <= valid_from
        or next_from < valid_to
        or (valid_to is null and next_from is not null)
{% endtest %}
