-- The status of each expected slice, and of each that came unexpected (KPI rule 3).
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['branch_id', 'business_date'],
    on_schema_change='fail',
    indexes=[{'columns': ['branch_id', 'business_date']}],
    meta={'touched_by': 'int_deliveries_touched', 'day': 'business_date'},
    pre_hook=loops_allowed()
) }}
with spread as (
    select * from {{ ref('int_branch_days_spread') }}
),

branch_days as (
    select spread.*
    from spread
    {{ of_touched_keys('spread', 'business_date', 'int_deliveries_touched') }}
),

feeds as (
    select * from {{ ref('stg_feeds') }}
    where sender = 'branch'
),

delivered_slices as (
    select * from {{ ref('stg_slices') }}
),

slices as (
    select delivered_slices.*
    from delivered_slices
    {{ of_touched_keys('delivered_slices', 'business_date', 'int_deliveries_touched') }}
),

revisions as (
    select
        feed,
        branch_id,
        business_date,
        max(revision) as highest_revision,
        sum(case when status = 'rejected' then 0 else 1 end) as revisions_taken,
        min(case when status <> 'rejected' then sent_at end) as first_sent_at
    from slices
    group by feed, branch_id, business_date
),

in_force as (
    select * from slices
    where status = 'loaded'
),

delivered as (
    select
        branch_days.branch_id,
        feeds.feed,
        feeds.has_nik,
        feeds.has_contact,
        branch_days.business_date,
        revisions.highest_revision,
        revisions.revisions_taken,
        revisions.first_sent_at,
        in_force.revision,
        in_force.rows_sent,
        in_force.rows_accepted,
        in_force.rows_quarantined,
        in_force.warnings,
        in_force.rows_nik_valid,
        in_force.rows_contactable
    from branch_days
    cross join feeds
    left join revisions
        on
            branch_days.branch_id = revisions.branch_id
            and branch_days.business_date = revisions.business_date
            and feeds.feed = revisions.feed
    left join in_force
        on
            branch_days.branch_id = in_force.branch_id
            and branch_days.business_date = in_force.business_date
            and feeds.feed = in_force.feed
    where
        revisions.feed is not null
        or (branch_days.is_expected and coalesce(feeds.expected_from <= branch_days.business_date, true))
)

select
    branch_id,
    feed,
    business_date,
    case
        when revisions_taken = 0 then 'rejected'
        when revisions_taken is null then 'missing'
        when first_sent_at > {{ jakarta_instant(add_days('business_date', 1), '00:30') }} then 'late'
        when rows_sent = 0 then 'empty'
        else 'on_time'
    end as status,
    coalesce(revision, highest_revision) as revision,
    revision is not null as is_in_force,
    coalesce(rows_sent, 0) as rows_sent,
    coalesce(rows_accepted, 0) as rows_accepted,
    coalesce(rows_quarantined, 0) as rows_quarantined,
    coalesce(warnings, 0) as warnings,
    case when has_nik then {{ ratio('rows_nik_valid', 'rows_sent') }} end as valid_nik_rate,
    case when has_contact then {{ ratio('rows_contactable', 'rows_accepted') }} end as contactable_rate
from delivered
