with contributions as (
    select * from {{ ref('int_contributions_deduplicated') }}
)

select
    branch_id,
    payment_id,
    participant_token,
    paid_at,
    paid_on,
    payment_channel,
    coverage_start,
    months_covered,
    program_code,
    jkk_amount,
    jkm_amount,
    jht_amount,
    total_amount,
    updated_at,
    business_date,
    revision,
    line
from contributions
