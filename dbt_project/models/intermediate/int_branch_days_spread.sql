-- Every branch on every day of the daily marts, and whether deliveries are expected of it (KPI rules 2 and 19).
with branches as (
    select * from {{ ref('int_branches_listed') }}
),

days as (
    {{ day_spine(first_business_date(), as_of()) }}
)

select
    branches.branch_id,
    days.day as business_date,
    branches.is_registered
    and days.day >= coalesce(branches.active_from, days.day)
    and days.day <= coalesce(branches.active_to, days.day) as is_expected
from branches
cross join days
