-- What people are told of a night stands here once; docs/architecture.md, "What stands, and who says so".
-- Each view is asked for one night, run, branch or build at a time, and then reads the rows of that alone.
create index slice_by_day on ops.slice (business_date, branch_id);
create index slice_by_run on ops.slice (run_id);
create index run_by_day on ops.run (as_of);
create index attempt_by_run on ops.attempt (run_id, branch_id);
drop index ops.attempt_run_id_idx;

create table ops.feed (
    feed text primary key,
    sender text not null check (sender in ('branch', 'head_office'))
);
comment on table ops.feed is
    'Feeds as of the latest run. A slice of each feed with sender branch is expected of each branch and business date.';
insert into ops.feed values
    ('pendaftaran', 'branch'), ('iuran', 'branch'), ('kegiatan', 'branch'), ('target', 'head_office');
grant select on ops.feed to loader, auditor;
grant insert, update (sender), delete on ops.feed to loader;

-- ---------------------------------------------------------------------------------------------------------------------
-- Slices
-- ---------------------------------------------------------------------------------------------------------------------
create view ops.night_span as
select coalesce(kept, earliest, latest) as first_business_date, latest as latest_business_date
from (
    select
        (select value::date from ops.setting where name = 'first_business_date') as kept,
        (select min(business_date) from ops.slice where branch_id <> 'HQ') as earliest,
        (select max(as_of) from ops.run) as latest
) as known;
comment on view ops.night_span is
    'The business dates on which slices are expected, one row: from the first one of the marts to the latest one that was run.';
comment on column ops.night_span.first_business_date is 'As kept in ops.setting, else the earliest that was delivered; null before the first run.';
comment on column ops.night_span.latest_business_date is 'The latest as_of of a run; null before the first run.';

create view ops.revision as
select
    s.feed, s.branch_id, s.business_date, s.revision, s.status, s.reason, s.detail, s.sent_at,
    s.rows_sent, s.rows_accepted, s.rows_quarantined, s.file_name, s.drift, s.run_id, s.build_id,
    coalesce(h.reasons, '{}') as hold_reasons,
    h.release_why
from ops.slice as s
left join ops.hold as h using (feed, branch_id, business_date, revision);
comment on view ops.revision is 'Every revision of every slice, with what the gate found when it was held.';
comment on column ops.revision.status is 'loaded: in force; superseded: replaced by a higher one; rejected: see reason; held: kept back by the gate.';
comment on column ops.revision.hold_reasons is 'What was expected and observed, of a revision that is or was held; empty for others.';
comment on column ops.revision.release_why is 'Why somebody released it; null when nobody did.';

create view ops.held_slice as
select feed, branch_id, business_date, revision, rows_sent, rows_quarantined, hold_reasons
from ops.revision
where status = 'held';
comment on view ops.held_slice is 'Slices that the gate keeps back now, of whatever business date: they wait for a person or a new revision.';

create view ops.slice_standing as
with span as materialized (
    select * from ops.night_span
),

expected as (
    select f.feed, b.branch_id, n.first_business_date + number as business_date
    from span as n
    cross join lateral generate_series(0, n.latest_business_date - n.first_business_date) as number
    cross join ops.branch as b
    cross join ops.feed as f
    where
        f.sender = 'branch'
        and n.first_business_date + number between coalesce(b.active_from, '-infinity') and coalesce(b.active_to, 'infinity')
),

-- Expected and delivered one below the other, and not joined: so a condition on the night reaches the index.
listed as (
    select
        feed, branch_id, business_date, true as is_expected, null::integer as revision, null as status,
        null::timestamptz as sent_at, null::bigint as rows_sent, null::bigint as rows_accepted, null::bigint as rows_quarantined
    from expected
    union all
    select feed, branch_id, business_date, false, revision, status, sent_at, rows_sent, rows_accepted, rows_quarantined
    from ops.slice
),

summed as (
    select
        feed, branch_id, business_date,
        bool_or(is_expected) as is_expected,
        max(revision) as highest_revision,
        max(revision) filter (where status <> 'rejected') as taken_revision,
        max(revision) filter (where status = 'rejected') as rejected_revision,
        max(revision) filter (where status = 'loaded') as revision_in_force,
        max(revision) filter (where status = 'held') as held_revision,
        min(sent_at) filter (where status <> 'rejected') as first_sent_at,
        -- One revision at most is in force, and one at most is held.
        max(rows_sent) filter (where status = 'loaded') as rows_sent,
        max(rows_accepted) filter (where status = 'loaded') as rows_accepted,
        max(rows_quarantined) filter (where status = 'loaded') as rows_quarantined,
        max(rows_sent) filter (where status = 'held') as held_rows_sent,
        max(rows_quarantined) filter (where status = 'held') as held_rows_quarantined
    from listed
    group by feed, branch_id, business_date
),

judged as (
    select
        *,
        case
            when highest_revision is null then 'missing'
            when taken_revision is null then 'rejected'
            when first_sent_at > (business_date + interval '1 day 30 minutes') at time zone 'Asia/Jakarta' then 'late'
            when rows_sent = 0 then 'empty'
            else 'on_time'
        end as status
    from summed
)

select
    j.feed, j.branch_id, j.business_date, j.is_expected, j.status,
    case when j.held_revision is not null then 'held' when j.status = 'empty' then 'on_time' else j.status end as state,
    coalesce(j.revision_in_force, j.highest_revision) as revision,
    j.revision_in_force is not null as is_in_force,
    j.first_sent_at,
    coalesce(j.rows_sent, 0) as rows_sent,
    coalesce(j.rows_accepted, 0) as rows_accepted,
    coalesce(j.rows_quarantined, 0) as rows_quarantined,
    j.held_revision,
    coalesce(j.held_rows_sent, j.rows_sent, 0) as rows_shown,
    coalesce(j.held_rows_quarantined, j.rows_quarantined, 0) as rows_quarantined_shown,
    r.revision as rejected_revision,
    r.reason as rejected_reason
from judged as j
left join ops.slice as r
    on
        (r.feed, r.branch_id, r.business_date, r.revision)
        = (j.feed, j.branch_id, j.business_date, j.rejected_revision)
        and j.rejected_revision > coalesce(j.taken_revision, 0);
comment on view ops.slice_standing is
    'How each slice stands now that is expected, or came unexpected: one row a feed, branch and business date.';
comment on column ops.slice_standing.is_expected is 'Whether the branch is in the registry and active on a business date that was run, and sends this feed.';
comment on column ops.slice_standing.status is
    'KPI rule 3. rejected: every revision was; missing: none came; late: the earliest-sent one that was not rejected came after 00:30 Jakarta of the next day; empty: 0 rows in force; on_time: all else.';
comment on column ops.slice_standing.state is 'held while the gate keeps a revision back, else the status, empty ones on_time.';
comment on column ops.slice_standing.revision is 'That in force, else the highest seen; null when missing.';
comment on column ops.slice_standing.is_in_force is 'Whether a revision of it is in the marts, or will be with the next build.';
comment on column ops.slice_standing.first_sent_at is 'When the earliest-sent revision that was not rejected was sent.';
comment on column ops.slice_standing.rows_sent is 'Of the revision in force; 0 when there is none.';
comment on column ops.slice_standing.rows_accepted is 'Of the revision in force; 0 when there is none.';
comment on column ops.slice_standing.rows_quarantined is 'Of the revision in force; 0 when there is none.';
comment on column ops.slice_standing.held_revision is 'The revision that the gate keeps back; null when none is.';
comment on column ops.slice_standing.rows_shown is 'Rows sent of the revision held, else of that in force: what an operator looks at.';
comment on column ops.slice_standing.rows_quarantined_shown is 'Rows quarantined of the same revision.';
comment on column ops.slice_standing.rejected_revision is 'The highest rejected revision that no other has overtaken: that which the branch must send anew; else null.';
comment on column ops.slice_standing.rejected_reason is 'Why it was rejected.';

create view ops.branch_standing as
select
    s.branch_id, s.business_date,
    case
        when bool_or(s.state = 'held') then 'held'
        when bool_or(s.state = 'rejected') then 'rejected'
        when bool_and(s.state = 'missing') then 'missing'
        when bool_or(s.state = 'missing') then 'incomplete'
        when bool_or(s.state = 'late') then 'late'
        else 'on_time'
    end as state,
    bool_or(s.is_expected) as is_expected,
    bool_and(s.status = 'missing') as is_missing,
    bool_or(s.status = 'missing') and not bool_and(s.status = 'missing') as is_incomplete,
    bool_or(s.status = 'late') as is_late,
    coalesce(array_agg(s.feed order by s.feed) filter (where s.status = 'missing'), '{}') as feeds_missing,
    jsonb_object_agg(s.feed, s.state) as states,
    sum(s.rows_shown)::bigint as rows_shown,
    sum(s.rows_quarantined_shown)::bigint as rows_quarantined_shown
from ops.slice_standing as s
where s.branch_id in (select b.branch_id from ops.branch as b) and s.feed in (select f.feed from ops.feed as f where f.sender = 'branch')
group by s.branch_id, s.business_date;
comment on view ops.branch_standing is
    'How each branch of the registry stands on a business date: one row where slices are expected of it, or came.';
comment on column ops.branch_standing.state is
    'What asks most of an operator, in the order held, rejected, missing (all slices are), incomplete (some are missing), late, on_time.';
comment on column ops.branch_standing.is_expected is 'Whether slices are expected of it.';
comment on column ops.branch_standing.is_missing is 'All of its slices are missing: nothing came, not even what was rejected.';
comment on column ops.branch_standing.is_incomplete is 'Some of its slices are missing and some came.';
comment on column ops.branch_standing.is_late is 'At least one of its slices came late, held or not.';
comment on column ops.branch_standing.feeds_missing is 'The feeds whose slice is missing, by name.';
comment on column ops.branch_standing.states is 'State by feed, see ops.slice_standing.';
comment on column ops.branch_standing.rows_shown is 'Rows sent of the revisions held or in force.';
comment on column ops.branch_standing.rows_quarantined_shown is 'Rows quarantined of the same revisions.';

create view ops.branch_rows as
select branch_id, business_date, sum(rows_sent)::bigint as rows
from ops.revision
where status = 'loaded'
group by branch_id, business_date;
comment on view ops.branch_rows is
    'Rows sent of the revisions in force, a row for each branch and business date of which one is: cheap over many nights.';

create view ops.quarantine_by_code as
select s.feed, s.branch_id, s.business_date, s.revision, s.build_id, c.code, count(*) as rows
from ops.slice as s
join ops.quarantine as q using (feed, branch_id, business_date, revision)
cross join unnest(q.errors) as c (code)
where s.status in ('loaded', 'held') and coalesce(q.closed_as, 'resolved') = 'resolved'
group by s.feed, s.branch_id, s.business_date, s.revision, s.build_id, c.code;
comment on view ops.quarantine_by_code is
    'Quarantined rows by error code, of the revisions in force or held. A row with several codes counts under each; one that was accepted since does not count.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Visits
-- ---------------------------------------------------------------------------------------------------------------------
create view ops.visit as
select
    a.attempt_id, a.run_id, r.as_of as business_date, r.mode, a.branch_id, a.kind, a.started_at, a.finished_at,
    extract(epoch from a.finished_at - a.started_at)::float8 as seconds,
    a.slices, a.rows, a.bytes,
    case when a.outcome = 'running' and r.outcome <> 'running' then 'killed' else a.outcome end as outcome,
    a.reason, a.notes
from ops.attempt as a
left join ops.run as r using (run_id);
comment on view ops.visit is 'Every visit to a branch, with the night that it was made for.';
comment on column ops.visit.business_date is 'The business date of its run.';
comment on column ops.visit.outcome is
    'loaded, nothing_new, failed, running, or killed: what was cut off says nothing of itself, and is killed once its run is over.';

create view ops.branch_visit as
select distinct on (business_date, branch_id)
    business_date, branch_id, attempt_id, run_id, mode, kind, outcome, reason,
    outcome in ('failed', 'killed') as is_failed,
    (count(*) over (partition by business_date, branch_id))::integer as visits
from ops.visit
where business_date is not null
order by business_date, branch_id, attempt_id desc;
comment on view ops.branch_visit is 'The last visit to each branch for each night, by whichever run.';
comment on column ops.branch_visit.is_failed is 'The branch could not be visited: its last visit failed or was killed.';
comment on column ops.branch_visit.visits is 'How many visits were made to it for that night.';

create view ops.branch_failing as
select v.branch_id, min(v.started_at) as failing_since
from (
    select
        b.branch_id,
        (
            select max(a.started_at) from ops.attempt as a
            where a.branch_id = b.branch_id and a.outcome in ('loaded', 'nothing_new')
        ) as last_good
    from (select branch_id from ops.branch union select 'HQ') as b
) as g
join ops.visit as v on v.branch_id = g.branch_id and v.started_at > coalesce(g.last_good, '-infinity')
where v.outcome in ('failed', 'killed')
group by v.branch_id;
comment on view ops.branch_failing is 'Branches whose last visits all failed or were killed.';
comment on column ops.branch_failing.failing_since is 'Start of the first of them after the last good one.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Runs, nights, publications
-- ---------------------------------------------------------------------------------------------------------------------
create view ops.publication_live as
select
    p.publication_id, p.build_id, p.as_of, p.published_at, p.restores, p.why,
    coalesce(origin.published_at, p.published_at) as made_at,
    (select max(earlier.as_of) from ops.publication as earlier) as latest_as_of
from ops.publication as p
left join ops.publication as origin on origin.publication_id = p.restores
order by p.publication_id desc
limit 1;
comment on view ops.publication_live is 'What readers of bi see: one row, none before the first publication.';
comment on column ops.publication_live.published_at is 'Since when readers see it.';
comment on column ops.publication_live.made_at is 'When it was first published: a rollback brings back what is as old as that.';
comment on column ops.publication_live.latest_as_of is 'The latest business date that ever was published: later than as_of after a rollback.';

create view ops.run_step as
select
    run_id, 0::bigint as position, 'pull' as step,
    extract(epoch from max(finished_at) - min(started_at))::float8 as seconds, 'ok' as outcome
from ops.attempt
group by run_id
union all
select run_id, step_id, step, extract(epoch from finished_at - started_at)::float8, outcome
from ops.step;
comment on view ops.run_step is 'The steps of each run in their order; its visits together are the step pull.';
comment on column ops.run_step.seconds is 'From its begin to its end; null while it is under way.';

create view ops.run_summary as
select
    r.run_id, r.as_of, r.mode, r.outcome, r.started_at, r.finished_at, r.alert, r.source_root, r.ways,
    exists (select from ops.attempt as a where a.run_id = r.run_id) as is_visiting,
    (
        select coalesce(sum(s.rows_accepted), 0)::bigint from ops.slice as s
        where s.run_id = r.run_id and s.status <> 'held'
    ) as rows_loaded,
    (select coalesce(sum(s.rows_quarantined), 0)::bigint from ops.slice as s where s.run_id = r.run_id) as rows_quarantined
from ops.run as r;
comment on view ops.run_summary is 'Each run, and what it brought.';
comment on column ops.run_summary.is_visiting is 'Whether it visited a branch; a retry of the quarantine does not.';
comment on column ops.run_summary.rows_loaded is 'Accepted rows of the revisions that it brought, of whatever business date, but for those that are held.';
comment on column ops.run_summary.rows_quarantined is 'Quarantined rows of the revisions that it brought.';

create view ops.night as
select
    r.business_date, r.run_id, r.alert, r.is_under_way,
    b.build_id, b.outcome as build_outcome,
    (
        select s.detail ->> 'reason' from ops.step as s
        where s.run_id = b.run_id and s.step = 'close_build' order by s.step_id desc limit 1
    ) as build_failure
from (
    select distinct on (as_of)
        as_of as business_date, run_id, alert, bool_or(outcome = 'running') over (partition by as_of) as is_under_way
    from ops.run
    order by as_of, started_at desc
) as r
left join lateral (
    select m.build_id, m.run_id, m.outcome from ops.build as m
    where m.as_of = r.business_date order by m.build_id desc limit 1
) as b on true;
comment on view ops.night is 'Each business date that was run: its latest run and its latest build.';
comment on column ops.night.alert is 'What the operator was told after the latest pulls for it.';
comment on column ops.night.is_under_way is 'Whether a run for it is not over yet.';
comment on column ops.night.build_id is 'The latest build for it; null when none was begun.';
comment on column ops.night.build_failure is 'Why that build was closed without a publication; null otherwise.';

create view ops.data_warning as
select split_part(unique_id, '.', 3) as test, message
from (
    -- A layer that was built twice for one build, as after a retry, has two results of each test.
    select distinct on (unique_id) unique_id, status, message
    from ops.dbt_result
    where (layer, build_id) in (select layer, max(build_id) from ops.dbt_result group by layer)
    order by unique_id, recorded_at desc
) as latest
where status = 'warn';
comment on view ops.data_warning is 'What dbt''s tests found wrong with seeds and references in the latest build of each layer.';

grant select on ops.night_span, ops.revision, ops.held_slice, ops.slice_standing, ops.branch_standing,
    ops.branch_rows, ops.quarantine_by_code, ops.visit, ops.branch_visit, ops.branch_failing, ops.publication_live, ops.run_step,
    ops.run_summary, ops.night, ops.data_warning to auditor;
