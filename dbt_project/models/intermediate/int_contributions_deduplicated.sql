-- Payments in force, each with the coverage that it pays for.
{{ config(materialized='view') }}
select
    branch_id,
    payment_id,
    participant_token,
    paid_at,
    paid_on,
    coverage_start,
    -- Months are added to the contribution's own start, so that 31 Jan + 2 months is 31 Mar, not 28 Mar.
    {{ add_months('coverage_start', 'months_covered') }} as coverage_end,
    total_amount
from {{ ref('fct_contribution') }}
