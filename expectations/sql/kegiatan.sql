-- Of activities alone: those that end before they began.
select
    slice,
    count(*) filter (where ended_at < started_at) as periods_reversed
from lying
group by slice
