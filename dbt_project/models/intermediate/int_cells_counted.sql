-- All that the marts count of participants, as sums: those of before and what changed of them. Whole numbers, so that
-- nothing is lost on the way; cells that fell to 0 stay.
{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key=['measure', 'branch_id', 'day', 'code'],
    on_schema_change='fail',
    meta={'day': 'day'},
    indexes=[{'columns': ['measure', 'branch_id', 'day', 'code'], 'unique': true}],
    pre_hook=loops_allowed()
) }}
{#- dbt has to hear of all that either kind of build reads. #}
{%- set goes_on = var('built_as_of', none) and is_incremental() %}
{%- if not execute or not goes_on %}
{%- set counted = participants_counted('select * from ' ~ ref('int_contributions_deduplicated')) %}
{%- endif %}
{% if not execute or goes_on -%}
with changed as (
    select * from {{ ref('int_cells_changed') }}
)

select
    changed.measure,
    changed.branch_id,
    changed.day,
    changed.code,
    cast(coalesce(standing.amount, 0) + changed.amount as numeric(38, 0)) as amount
from changed
left join {{ this }} as standing
    on
        changed.measure = standing.measure
        and changed.branch_id = standing.branch_id
        and changed.day = standing.day
        and changed.code = standing.code
{%- else -%}
{{ counted }}
{%- endif %}
