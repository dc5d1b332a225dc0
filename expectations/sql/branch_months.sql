-- What a branch's daily figures come to, month by month: sums, and the active participants of the last day so far.
select
    branch_id,
    cast(date_trunc('month', business_date) as date) as month,
    sum(registrations) as registrations,
    sum(acquisitions) as acquisitions,
    sum(contributions_idr) as idr,
    (array_agg(aktif order by business_date desc))[1] as aktif
from next.kpi_branch_daily
where business_date >= (select date_trunc('month', since.day) from audit.since)
group by branch_id, date_trunc('month', business_date)
