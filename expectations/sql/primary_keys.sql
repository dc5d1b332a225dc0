-- The key of every mart as its properties name it, and as the database enforces it: a key that is enforced need not be
-- counted. Of the properties: marts, with their keys.
with declared (mart, key) as (
    values
    {% for mart in marts %}
    ('{{ mart.name }}', '{{ mart.primary_key | join(', ') }}')
    {%- if not loop.last %},{% endif %}

    {% endfor %}
),

enforced as (
    select
        constraints.conrelid,
        string_agg(cast(attributes.attname as text), ', ' order by keys.place) as key
    from pg_constraint as constraints
    cross join unnest(constraints.conkey) with ordinality as keys (attnum, place)
    inner join pg_attribute as attributes
        on constraints.conrelid = attributes.attrelid and keys.attnum = attributes.attnum
    where constraints.contype = 'p'
    group by constraints.conrelid
)

select
    declared.mart as slice,
    declared.key,
    coalesce(enforced.key, 'none') as enforced_key
from declared
left join enforced on enforced.conrelid = to_regclass('next.' || declared.mart)
