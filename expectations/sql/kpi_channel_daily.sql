-- Channel by channel from the month before on, and the sum of a branch's channels next to its own figure.
with channels as (
    select *
    from next.kpi_channel_daily
    where business_date >= (select day from audit.since)
),

branches as (
    select *
    from next.kpi_branch_daily
    where business_date >= (select day from audit.since)
),

cells as (
    select
        branch_id || '/' || audit.code(channel_code) || '/' || cast(business_date as text) as slice,
        audit.code(channel_code) as channel_code,
        registrations, acquisitions, activation_days_sum, activation_days_count, activated_30d, registrations_30d_due
    from channels
),

channel as (
    select branch_id, business_date, sum(registrations) as registrations, sum(acquisitions) as acquisitions
    from channels
    group by branch_id, business_date
),

sums as (
    select
        measure.name || '/' || branch_id || '/' || cast(business_date as text) as slice,
        coalesce(measure.of_channels, 0) as of_channels,
        coalesce(measure.of_branch, 0) as of_branch
    from branches
    full join channel using (branch_id, business_date)
    cross join lateral (
        values
        ('registrations', channel.registrations, branches.registrations),
        ('acquisitions', channel.acquisitions, branches.acquisitions)
    ) as measure (name, of_channels, of_branch)
)

select
    slice, channel_code, registrations, acquisitions, activation_days_sum, activation_days_count, activated_30d,
    registrations_30d_due, of_channels, of_branch
from cells
full join sums using (slice)
