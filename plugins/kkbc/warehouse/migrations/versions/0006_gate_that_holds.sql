-- A held slice lies in landing alone until it is released or superseded: raw holds slices in force and nothing else.
alter table ops.slice drop constraint slice_status_check;
alter table ops.slice add constraint slice_status_check check (status in ('loaded', 'superseded', 'rejected', 'held'));
comment on table ops.slice is
    'Every revision of every slice ever seen. loaded: in force; superseded: replaced by a higher revision; rejected: see reason; held: kept back by the gate, see ops.hold.';
create index slice_held on ops.slice (branch_id) where status = 'held';

create table ops.hold (
    feed text not null,
    branch_id text not null,
    business_date date not null,
    revision integer not null,
    build_id bigint not null references ops.build,
    held_at timestamptz not null default now(),
    reasons text[] not null check (cardinality(reasons) > 0),
    restored_revision integer,
    released_at timestamptz,
    released_by text,
    release_why text check (release_why <> ''),
    closed_as text check (closed_as in ('released', 'superseded')),
    primary key (feed, branch_id, business_date, revision),
    foreign key (feed, branch_id, business_date, revision) references ops.slice on delete cascade,
    check ((closed_as is not distinct from 'released') = (released_at is not null)),
    check ((released_at is null) = (released_by is null) and (released_at is null) = (release_why is null))
);
comment on table ops.hold is
    'Slices that the gate kept out of a publication, and what became of them. reasons: what was expected and observed; restored_revision: the earlier revision that is in force meanwhile; closed_as null: still held. What was released is never held again.';
create index hold_open on ops.hold (branch_id) where closed_as is null;
grant select on ops.hold to loader, transformer, auditor, publisher;
grant insert, update on ops.hold to loader;

alter table ops.build add column load_id bigint;
comment on column ops.build.load_id is
    'The last load that the models of this build saw; null until they are built. What was loaded later is no business of its audit.';
update ops.build set load_id = (select coalesce(max(slice.load_id), 0) from ops.slice where slice.build_id <= build.build_id)
where outcome = 'published';
grant select on sequence ops.load_id to transformer;

-- A step that is run again replaces its results.
grant delete on ops.expectation_result to auditor;
comment on column ops.expectation_result.severity is
    'fail: stops publication for everyone; hold: keeps the new slices of that branch out of it; warn: is reported.';

-- How much further out than others a branch may be before it is held or warned of: config/gate.yml, by way of the
-- setting kkbc.leniency of the session, as a JSON object by branch. 1 for all others.
create function audit.leniency(branch_id text) returns float8
language sql stable as $$
    select coalesce((nullif(current_setting('kkbc.leniency', true), '')::jsonb ->> branch_id)::float8, 1)
$$;

-- A code as results may show it: what does not look like one may be anything, a person too.
create function audit.code(code text) returns text
language sql immutable as $$
    select case when code similar to '[A-Z_]+' and length(code) <= 20 then code else '(no code)' end
$$;

create or replace view audit.build as
select build_id, run_id, as_of, first_business_date, outcome, load_id
from ops.build
where build_id = (select audit.build_id());

drop view audit.slices;
create view audit.slices as
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
comment on view audit.slices is
    'Every revision that the build at hand takes in, rejected, held and superseded ones too. usual_*: of what the branch sent on the same weekday of the 8 weeks before; is_new: in force, and in no publication yet.';

-- Each quarantine code of those slices: the share of the rows sent that earned it.
create view audit.quarantine_codes as
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

-- Branches to which something came after the build at hand was made: raw is ahead of its marts there, and the build that
-- takes that in answers for it. Loads wait while models are built, so that this is all that can differ.
create view audit.branches_ahead as
select distinct branch_id
from ops.slice
where build_id is null or build_id > (select audit.build_id());

-- Work on all of history, which the gate leaves alone from now on.
drop view audit.registrations_in_force;
drop view audit.contributions_in_force;

-- The first day that the gate looks at in marts by day: the month before as_of, and whatever the new slices reach back to.
create view audit.since as
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

grant select on all tables in schema audit to auditor;
grant execute on function audit.leniency(text) to auditor;
grant execute on function audit.code(text) to auditor;
