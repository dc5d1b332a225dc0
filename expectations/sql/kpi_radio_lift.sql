-- Radio days, with the lift worked out again.
select
    branch_id || '/' || cast(spot_date as text) as slice,
    mart.observed,
    mart.baseline,
    mart.lift,
    case when mart.lift is not null then abs(mart.lift - cast(mart.observed as float8) / nullif(mart.baseline, 0)) end
        as lift_off,
    mart.spot_date,
    build.as_of
from next.kpi_radio_lift as mart
cross join audit.build
