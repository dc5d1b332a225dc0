with slices as (
    select * from {{ source('ops', 'slice') }}
)

select
    feed,
    branch_id,
    business_date,
    revision,
    status,
    sent_at,
    rows_sent,
    rows_accepted,
    rows_quarantined,
    warnings,
    rows_nik_valid,
    rows_contactable,
    build_id
from slices
where business_date <= {{ as_of() }}
