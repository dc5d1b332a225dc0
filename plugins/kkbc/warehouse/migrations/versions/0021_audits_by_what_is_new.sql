-- The build as the function that it is, and not as a subquery of it: the planner asks a function that is stable, and from
-- the statistics it then knows how few slices the build has. Of a subquery it knows nothing, and expects half of all.
create or replace view audit.build as
select build_id, run_id, as_of, first_business_date, outcome, load_id
from ops.build
where build_id = audit.build_id();

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
where s.build_id = audit.build_id();

create or replace view audit.loaded_slices as
select
    format('%s/%s/%s/r%s', feed, branch_id, business_date, revision) as slice,
    feed, branch_id, business_date, revision, load_id, retry_load_ids
from ops.slice
where status = 'loaded' and build_id = audit.build_id();

-- Joined to the rows of the quarantine before these are divided by their codes: those of other slices are not read.
create or replace view audit.quarantine_codes as
select s.slice, s.feed, s.branch_id, s.rows_sent, audit.code(coded.code) as code,
    count(distinct q.line)::float8 / nullif(s.rows_sent, 0) / audit.leniency(s.branch_id) as share
from (
    select format('%s/%s/%s/r%s', feed, branch_id, business_date, revision) as slice,
        feed, branch_id, business_date, revision, rows_sent
    from ops.slice
    where status = 'loaded' and build_id = audit.build_id()
) as s
join ops.quarantine as q using (feed, branch_id, business_date, revision)
cross join lateral unnest(q.errors) as coded (code)
where coalesce(q.closed_as, 'resolved') = 'resolved'
group by s.slice, s.feed, s.branch_id, s.rows_sent, audit.code(coded.code);

create or replace view audit.branches_ahead as
select distinct branch_id
from ops.slice
where build_id is null or build_id > audit.build_id();

-- The month of the earliest of the build's slices is the earliest of their months, which no index offers: asked for the
-- earliest day, the planner walks through all slices in the order of their days until it meets one of the build.
create or replace view audit.since as
select
    greatest(
        build.first_business_date,
        least(
            date_trunc('month', build.as_of - interval '1 month'),
            (
                select min(date_trunc('month', slice.business_date::timestamp)) from ops.slice
                where slice.build_id = audit.build_id()
            )
        )::date
    ) as day
from audit.build;

-- What the loads of a night changed, analyzed as autovacuum would a minute later: an audit that comes before it plans on
-- tables of which nothing is known.
create function ops.analyze_changed() returns integer
language plpgsql security definer set search_path = pg_catalog as $$
declare
    changed regclass;
    analyzed integer := 0;
begin
    for changed in
        select oid from pg_class
        where relnamespace in ('ops'::regnamespace, 'raw'::regnamespace) and relkind = 'r'
            and pg_stat_get_mod_since_analyze(oid) > 50 + 0.1 * greatest(reltuples, 0)
        order by oid
    loop
        execute format('analyze (skip_locked) %s', changed);
        analyzed := analyzed + 1;
    end loop;
    return analyzed;
end
$$;
comment on function ops.analyze_changed() is
    'Brings the statistics of tables of ops and raw up to date of which a tenth or more has changed; returns how many.';
revoke all on function ops.analyze_changed() from public;
grant execute on function ops.analyze_changed() to loader;
