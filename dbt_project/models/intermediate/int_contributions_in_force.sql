-- The latest state of every payment (exchange rule 1), be it counted or not: which row of raw is in force.
{{ config(materialized='view') }}
select
    branch_id,
    payment_id,
    participant_token,
    false as is_void,
    updated_at,
    business_date,
    line
from {{ ref('fct_contribution') }}
union all
select
    branch_id,
    payment_id,
    participant_token,
    is_void,
    updated_at,
    business_date,
    line
from {{ ref('int_contributions_uncounted') }}
