with slices as (
    select * from {{ ref('int_slices_judged') }}
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
