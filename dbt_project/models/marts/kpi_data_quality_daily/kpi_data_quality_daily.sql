{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'business_date'],
    on_schema_change='fail',
    meta={'touched_by': 'int_deliveries_touched'},
    pre_hook=loops_allowed()
) }}
with judged as (
    select * from {{ ref('int_slices_judged') }}
),

slices as (
    select judged.*
    from judged
    {{ of_touched_keys('judged', 'business_date', 'int_deliveries_touched') }}
)

select
    branch_id,
    feed,
    business_date,
    status,
    revision,
    rows_sent,
    rows_accepted,
    rows_quarantined,
    warnings,
    valid_nik_rate,
    contactable_rate
from slices
