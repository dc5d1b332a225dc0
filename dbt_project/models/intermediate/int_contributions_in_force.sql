-- The latest state of every payment (exchange rule 1), be it counted or not: which row of raw is in force, and what is
-- counted of it.
{{ config(materialized='view') }}
select
    branch_id,
    payment_id,
    participant_token,
    false as is_void,
    updated_at,
    business_date,
    line,
    paid_at,
    total_amount
from {{ ref('fct_contribution') }}
union all
select
    branch_id,
    payment_id,
    participant_token,
    is_void,
    updated_at,
    business_date,
    line,
    null as paid_at,
    null as total_amount
from {{ ref('int_contributions_uncounted') }}
