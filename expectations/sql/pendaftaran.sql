-- Of registrations alone: the share of those that name an activity that the branch never reported.
select
    slice,
    case
        when count(*) >= 20 then cast(count(*) filter (
            where activity_code is not null
            and not exists (
                select from raw.activities
                where activities._branch_id = lying._branch_id and activities.activity_code = lying.activity_code
            )
        ) as float8) / count(*)
    end as of_unknown_activities_share
from lying
group by slice
