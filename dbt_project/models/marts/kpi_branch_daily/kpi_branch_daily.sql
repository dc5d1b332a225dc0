{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'business_date'],
    on_schema_change='fail',
    meta={'touched_by': 'int_branch_days_touched'},
    pre_hook=loops_allowed()
) }}
with counted as (
    select * from {{ ref('int_branch_days_counted') }}
),

branch_days as (
    select counted.*
    from counted
    {{ of_touched_keys('counted', 'business_date', 'int_branch_days_touched') }}
)

select
    branch_id,
    business_date,
    cast(branches_expected as bigint) as branches_expected,
    cast(branches_reported as bigint) as branches_reported,
    cast(registrations as bigint) as registrations,
    cast(acquisitions as bigint) as acquisitions,
    cast(reactivations as bigint) as reactivations,
    cast(aktif as bigint) as aktif,
    cast(menunggak as bigint) as menunggak,
    cast(non_aktif as bigint) as non_aktif,
    cast(belum_aktif as bigint) as belum_aktif,
    cast(contributions_idr as numeric(38, 0)) as contributions_idr,
    {{ ratio('activated_30d', 'registrations_30d_due') }} as activation_rate_30d,
    {{ ratio('acquisitions_mtd', 'target_new') }} as attainment_mtd,
    cast(activities as bigint) as activities,
    cast(contacts as numeric(38, 0)) as contacts,
    cast(activity_cost_idr as numeric(38, 0)) as activity_cost_idr,
    cast(repeat_registrations as bigint) as repeat_registrations,
    cast(quarantined as bigint) as quarantined,
    cast(slices_late as bigint) as slices_late
from branch_days
