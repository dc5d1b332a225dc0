-- Of contributions alone: totals that are not the sum of the three programmes.
select
    slice,
    count(*) filter (where total_amount <> jkk_amount + jkm_amount + jht_amount) as amounts_unequal
from lying
group by slice
