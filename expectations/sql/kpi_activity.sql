-- Activity by activity, with the shares worked out again, and the facts that were made of the same deliveries.
with fact as (
    select branch_id, activity_code, contacts
    from next.fct_activity
)

select
    branch_id || '/activity' as slice,
    mart.*,
    fact.contacts as fact_contacts,
    abs(coalesce(mart.conversion, 0) - coalesce(cast(mart.registrations as float8) / nullif(mart.contacts, 0), 0))
        as conversion_off,
    abs(
        coalesce(mart.paid_conversion, 0)
        - coalesce(cast(mart.acquisitions as float8) / nullif(mart.registrations, 0), 0)
    )
        as paid_conversion_off
from (
    select
        branch_id, activity_code, contacts, cost, registrations, acquisitions, conversion, paid_conversion,
        cost_per_acquisition
    from next.kpi_activity
) as mart
full join fact using (branch_id, activity_code)
