-- Each quarantined row of a slice in force counts once for each distinct error code that it has (KPI rule 18).
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'business_date'],
    on_schema_change='fail',
    meta={'touched_by': 'int_deliveries_touched'},
    pre_hook=loops_allowed()
) }}
with stopped as (
    select * from {{ ref('stg_quarantine') }}
    where business_date >= {{ first_business_date() }}
),

quarantine as (
    select stopped.*
    from stopped
    {{ of_touched_keys('stopped', 'business_date', 'int_deliveries_touched') }}
),

slices as (
    select * from {{ ref('stg_slices') }}
    where status = 'loaded'
),

coded as (
    select distinct
        quarantine.feed,
        quarantine.branch_id,
        quarantine.business_date,
        quarantine.line,
        {{ unnest('quarantine.errors') }} as code
    from quarantine
    inner join slices
        on
            quarantine.feed = slices.feed
            and quarantine.branch_id = slices.branch_id
            and quarantine.business_date = slices.business_date
            and quarantine.revision = slices.revision
)

select
    branch_id,
    feed,
    business_date,
    code,
    count(*) as rows
from coded
group by branch_id, feed, business_date, code
