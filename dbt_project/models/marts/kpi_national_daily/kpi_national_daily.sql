with branch_days as (
    select * from {{ ref('int_branch_days_counted') }}
)

select
    business_date,
    cast(sum(branches_expected) as bigint) as branches_expected,
    cast(sum(branches_reported) as bigint) as branches_reported,
    cast(sum(registrations) as bigint) as registrations,
    cast(sum(acquisitions) as bigint) as acquisitions,
    cast(sum(reactivations) as bigint) as reactivations,
    cast(sum(aktif) as bigint) as aktif,
    cast(sum(menunggak) as bigint) as menunggak,
    cast(sum(non_aktif) as bigint) as non_aktif,
    cast(sum(belum_aktif) as bigint) as belum_aktif,
    cast(sum(contributions_idr) as numeric(38, 0)) as contributions_idr,
    {{ ratio('sum(activated_30d)', 'sum(registrations_30d_due)') }} as activation_rate_30d,
    -- A branch without a target is in neither sum, one with a target of 0 in both (KPI rule 11).
    {{ ratio('sum(case when target_new is not null then acquisitions_mtd end)', 'sum(target_new)') }} as attainment_mtd
from branch_days
group by business_date
