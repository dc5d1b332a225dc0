-- The slices that this build must look at, of any age: those loaded since the last publication, and those that lie
-- beyond the day that the marts stand at. Nothing when everything is rebuilt.
with slices as (
    select * from {{ ref('stg_slices') }}
)

select distinct
    feed,
    branch_id,
    business_date
from slices
{% if var('built_as_of', none) -%}
where
    -- What is loaded while a build begins belongs to the next one, but its rows are there already.
    build_id is null
    or business_date > cast('{{ var("built_as_of") }}' as date)
    {%- if var('build_id', none) %}
    or build_id = {{ var('build_id') }}
    {%- endif %}
{%- else -%}
where 1 = 0
{%- endif %}
