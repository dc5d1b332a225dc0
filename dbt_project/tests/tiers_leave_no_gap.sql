-- Incomes that no tier holds, or two do. Bounds are in thousands of rupiah, so that 1,099,000 touches 1,100,000.
with tiers as (
    select * from {{ ref('bpu_income_tiers') }}
),

neighboured as (
    select
        tier,
        valid_from,
        valid_to,
        income_low,
        income_high,
        lag(income_high) over (partition by valid_from, valid_to order by income_low) as highest_below,
        lag(tier) over (partition by valid_from, valid_to order by income_low) as tier_below,
        row_number() over (partition by valid_from, valid_to order by income_low desc) as place_from_top
    from tiers
)

select
    tier,
    valid_from,
    valid_to,
    highest_below,
    income_low,
    income_high
from neighboured
where
    income_low <> coalesce(highest_below + 1000, 0)
    or (income_high is null) <> (place_from_top = 1)
    or tier <> coalesce(tier_below, 0) + 1
order by valid_from, tier
