drop function ops.analyze_changed();

-- The views of 0004 and 0006.
create or replace view audit.build as
select build_id, run_id, as_of, first_business_date, outcome, load_id
from ops.build
where build_id = (select audit.build_id());

create or replace view audit.slices as
select
    format('%s/%s/%s/r%s', s.feed, s.branch_id, s.business_date, s.revision) as slice,
    s.feed,
    s.branch_id,
    s.business_date,
    s.revision,
    s.status,
    s.reason,
    s.sent_at,
    s.manifest_rows,
    s.rows_sent,
    s.rows_accepted,
    s.rows_quarantined,
    s.rows_accepted + s.rows_quarantined as rows_accounted_for,
    s.rows_contactable,
    novelty.is_new,
    usual.weeks as usual_weeks,
    -- Fewer than 3 weeks are no custom yet.
    case when usual.weeks >= 3 then usual.median end as usual_rows,
    s.rows_quarantined::float8 / nullif(s.rows_sent, 0) / leniency.factor as quarantined_rate,
    case when usual.weeks >= 3 then s.rows_sent / nullif(usual.median, 0) end as volume_ratio,
    -- What may hold a slice back: it was in no publication yet, and is clearly out of what the branch ever sent.
    case when novelty.is_new then s.rows_quarantined::float8 / nullif(s.rows_sent, 0) / leniency.factor end
        as new_quarantined_rate,
    case when novelty.is_new and usual.weeks >= 4 and usual.most >= 10 then s.rows_sent / usual.most::float8 / leniency.factor end
        as new_volume_over_most
from ops.slice as s
cross join lateral (select audit.leniency(s.branch_id) as factor) as leniency
cross join lateral (
    select
        s.status = 'loaded'
        and s.load_id > coalesce((select max(build.load_id) from ops.build where build.outcome = 'published'), 0)
        and not exists (
            select from ops.hold
            where
                (hold.feed, hold.branch_id, hold.business_date, hold.revision)
                = (s.feed, s.branch_id, s.business_date, s.revision)
        ) as is_new
) as novelty
cross join lateral (
    select
        count(*) as weeks,
        max(earlier.rows_sent) as most,
        percentile_cont(0.5) within group (order by earlier.rows_sent::float8) as median
    from ops.slice as earlier
    where
        earlier.status = 'loaded'
        and earlier.feed = s.feed
        and earlier.branch_id = s.branch_id
        and earlier.business_date = any (array(
            select s.business_date - 7 * week from generate_series(1, 8) as week
        ))
) as usual
where s.build_id = (select audit.build_id());

create or replace view audit.loaded_slices as
select
    format('%s/%s/%s/r%s', feed, branch_id, business_date, revision) as slice,
    feed, branch_id, business_date, revision, load_id, retry_load_ids
from ops.slice
where status = 'loaded' and build_id = (select audit.build_id());

create or replace view audit.quarantine_codes as
select s.slice, s.feed, s.branch_id, s.rows_sent, audit.code(coded.code) as code,
    count(distinct coded.line)::float8 / nullif(s.rows_sent, 0) / audit.leniency(s.branch_id) as share
from audit.slices as s
join (
    select q.feed, q.branch_id, q.business_date, q.revision, q.line, unnest(q.errors) as code
    from ops.quarantine as q
    where coalesce(q.closed_as, 'resolved') = 'resolved'
) as coded using (feed, branch_id, business_date, revision)
where s.status = 'loaded'
group by s.slice, s.feed, s.branch_id, s.rows_sent, audit.code(coded.code);

create or replace view audit.branches_ahead as
select distinct branch_id
from ops.slice
where build_id is null or build_id > (select audit.build_id());

create or replace view audit.since as
select
    greatest(
        build.first_business_date,
        date_trunc(
            'month',
            least(
                build.as_of - interval '1 month',
                (select min(slice.business_date) from ops.slice where slice.build_id = build.build_id)
            )
        )::date
    ) as day
from audit.build;
