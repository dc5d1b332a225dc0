-- Exchange rule 1: the latest state of a key is in force, and is no payment when it voids the key.
with contributions as (
    select * from {{ ref('stg_contributions') }}
),

ranked as (
    select
        *,
        row_number() over (
            partition by branch_id, payment_id
            order by updated_at desc, business_date desc, line desc
        ) as recency
    from contributions
)

select
    branch_id,
    payment_id,
    participant_token,
    paid_at,
    {{ jakarta_day('paid_at') }} as paid_on,
    payment_channel,
    coverage_start,
    -- Months are added to the contribution's own start, so that 31 Jan + 2 months is 31 Mar, not 28 Mar.
    {{ add_months('coverage_start', 'months_covered') }} as coverage_end,
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
from ranked
where recency = 1 and record_status <> 'BATAL'
