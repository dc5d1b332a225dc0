{#- The latest state of each key (branch_id, `key`) among the rows of the model `delivered` (exchange rule 1), be it a void:
    a revision may take the void away again. A model that is brought up to date looks only at the keys in the model
    `touched`, where there is one, and the slices of `feed`. With `some`, only keys of which some
    of these rows, called others, meets it. -#}
{% macro latest_states(delivered, key, touched=none, feed=none, some=none) %}
    {%- set states = states_touched(delivered, key, touched, feed) if touched else ref(delivered) %}
    select *
    from (
        select
            candidates.*,
            row_number() over (
                partition by candidates.branch_id, candidates.{{ key }}
                order by candidates.updated_at desc, candidates.business_date desc, candidates.line desc
            ) as recency
        from {{ states }} as candidates
        {%- if some %}
        where exists (
            select 1 from {{ states }} as others
            where
                others.branch_id = candidates.branch_id
                and others.{{ key }} = candidates.{{ key }}
                and ({{ some }})
        )
        {%- endif %}
    ) as ranked
    where recency = 1
{% endmacro %}

{#- The rows of `delivered` that may be the latest of a key in `touched`; all rows when everything is rebuilt. They are those
    of the touched slices and the row in force, which is the latest of all others; only where that one lay in a touched
    slice itself, any other may be the latest now. A row that is found twice is ranked twice, and does no harm. -#}
{% macro states_touched(delivered, key, touched, feed) -%}
    {%- if not execute or (var('built_as_of', none) and is_incremental()) -%}
    (
        select delivered.*
        from {{ ref('int_slices_touched') }} as slices
        inner join {{ ref(delivered) }} as delivered
            on slices.branch_id = delivered.branch_id and slices.business_date = delivered.business_date
        where slices.feed = '{{ feed }}'
        union all
        select delivered.*
        from {{ ref(touched) }} as touched
        inner join {{ ref(delivered) }} as delivered
            on
                touched.branch_id = delivered.branch_id
                and touched.{{ key }} = delivered.{{ key }}
                and touched.business_date_before = delivered.business_date
        union all
        select delivered.*
        from {{ ref(touched) }} as touched
        inner join {{ ref(delivered) }} as delivered
            on touched.branch_id = delivered.branch_id and touched.{{ key }} = delivered.{{ key }}
        where touched.is_displaced
    )
    {%- else -%}
    {{ ref(delivered) }}
    {%- endif -%}
{%- endmacro %}

{#- Restricts `rows` to the keys in the model `touched`, where a model is brought up to date and not rebuilt. -#}
{% macro of_touched_keys(rows, key, touched) -%}
    {%- if not execute or (var('built_as_of', none) and is_incremental()) -%}
        inner join {{ ref(touched) }} as touched
            on {{ rows }}.branch_id = touched.branch_id and {{ rows }}.{{ key }} = touched.{{ key }}
    {%- endif -%}
{%- endmacro %}

{#- Keys of `feed` whose row in force a build may have to change: those that lie in the touched slices now, and those
    whose row in force lay in one of them. A slice that is revised may leave either out. `delivered` and `in_force` are
    the models of all rows of the feed, and of those in force. `also`: columns of the row that was in force, and their
    names here. -#}
{% macro keys_touched(feed, delivered, in_force, key, also={'participant_token': 'participant_before'}) %}
with slices as (
    select * from {{ ref('int_slices_touched') }}
    where feed = '{{ feed }}'
),

delivered as (
    select * from {{ ref(delivered) }}
),

{% if var('built_as_of', none) -%}
touched as (
    select
        delivered.branch_id,
        delivered.{{ key }}
    from slices
    inner join delivered
        on slices.branch_id = delivered.branch_id and slices.business_date = delivered.business_date
    union
    select
        in_force.branch_id,
        in_force.{{ key }}
    from slices
    inner join {{ before(in_force) }} as in_force
        on slices.branch_id = in_force.branch_id and slices.business_date = in_force.business_date
)

select
    touched.branch_id,
    touched.{{ key }},
    {%- for column, name in also.items() %}
    in_force.{{ column }} as {{ name }},
    {%- endfor %}
    in_force.business_date as business_date_before,
    slices.branch_id is not null as is_displaced
from touched
left join {{ before(in_force) }} as in_force
    on touched.branch_id = in_force.branch_id and touched.{{ key }} = in_force.{{ key }}
left join slices
    on in_force.branch_id = slices.branch_id and in_force.business_date = slices.business_date
{%- else -%}
touched as (
    select
        delivered.branch_id,
        delivered.{{ key }},
        {%- for column, name in also.items() %}
        delivered.{{ column }} as {{ name }},
        {%- endfor %}
        delivered.business_date as business_date_before,
        false as is_displaced
    from slices
    inner join delivered
        on slices.branch_id = delivered.branch_id and slices.business_date = delivered.business_date
)

select * from touched
where 1 = 0
{%- endif %}
{% endmacro %}
