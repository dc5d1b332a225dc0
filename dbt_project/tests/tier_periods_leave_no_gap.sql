-- Coverage starts between two periods of the tiers, or in both; valid_to is the last day of a period.
with periods as (
    select distinct
        valid_from,
        valid_to
    from {{ ref('bpu_income_tiers') }}
),

neighboured as (
    select
        valid_from,
        valid_to,
        lead(valid_from) over (order by valid_from nulls first) as next_from
    from periods
)

select
    valid_from,
    valid_to,
    next_from
from neighboured
where
    valid_to < valid_from
    or (next_from is not null and (valid_to is null or {{ add_days('valid_to', 1) }} <> next_from))
order by valid_from
