{{ kept_by_slice('iuran', key=['branch_id', 'business_date']) -}}
select
    -- Equal to the row's own branch_id, which is checked, and indexed with the key.
    _branch_id as branch_id,
    payment_id,
    participant_token,
    paid_at,
    payment_channel,
    coverage_start,
    months_covered,
    program_code,
    jkk_amount,
    jkm_amount,
    jht_amount,
    total_amount,
    record_status,
    updated_at,
    _business_date as business_date,
    _revision as revision,
    _file as file_name,
    _line as line,
    _load_id as load_id
from {{ source('raw', 'contributions') }}
where _business_date <= {{ as_of() }}
