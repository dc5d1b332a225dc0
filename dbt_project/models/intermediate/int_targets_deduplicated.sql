-- KPI rule 11: targets carry no updated_at, so the latest delivery is in force.
with targets as (
    select * from {{ ref('stg_targets') }}
),

ranked as (
    select
        *,
        row_number() over (
            partition by branch_id, month
            order by business_date desc, revision desc, line desc
        ) as recency
    from targets
)

select
    branch_id,
    month,
    target_new,
    target_active,
    target_idr,
    business_date
from ranked
where recency = 1
