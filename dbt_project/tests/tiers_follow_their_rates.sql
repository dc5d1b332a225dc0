-- JKK is 1 percent and JHT 2 percent of the base income, and the totals are sums of the parts.
with tiers as (
    select * from {{ ref('bpu_income_tiers') }}
)

select
    tier,
    valid_from,
    base_income,
    jkk,
    jht,
    total_2prog,
    total_3prog
from tiers
where
    100 * jkk <> base_income
    or 50 * jht <> base_income
    or total_2prog <> jkk + jkm
    or total_3prog <> jkk + jkm + jht
    or base_income < income_low
    or base_income > income_high
order by valid_from, tier
