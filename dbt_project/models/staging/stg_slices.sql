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
from {{ source('ops', 'slice') }}
where business_date <= {{ as_of() }}
