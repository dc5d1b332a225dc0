alter table ops.slice add column retry_load_ids bigint[] not null default '{}';
comment on column ops.slice.retry_load_ids is
    'Loads by which a retry of the quarantine added rows to the slice, after load_id.';

comment on column ops.quarantine.errors is 'Codes of today, of rows that were accepted since those of then.';
comment on column ops.quarantine.load_id is 'Load that judged the row first, or that took it out of the accepted ones.';
comment on column ops.quarantine.closed_as is
    'superseded: a higher revision is in force; accepted: loaded by a retry; resolved: needs no more work, and is still not loaded. Null: open.';
create index quarantine_open on ops.quarantine (branch_id, business_date, feed) where closed_at is null;

create table ops.quarantine_event (
    event_id bigint generated always as identity primary key,
    happened_at timestamptz not null default now(),
    feed text not null,
    branch_id text not null,
    business_date date not null,
    revision integer not null,
    line bigint not null,
    event text not null check (event in ('accepted', 'judged_anew', 'beaten', 'resolved')),
    errors_before text[] not null,
    errors_after text[] not null,
    fields_before text[] not null,
    fields_after text[] not null,
    why text not null check (why <> ''),
    done_by text not null,
    load_id bigint,
    run_id text references ops.run,
    foreign key (feed, branch_id, business_date, revision, line) references ops.quarantine on delete cascade
);
comment on table ops.quarantine_event is
    'What became of quarantined rows by hand or by retry. accepted: passed and was loaded; judged_anew: still bad, with other codes; beaten: an accepted row that lost its key to a retried one; resolved: needs no more work.';
create index on ops.quarantine_event (feed, branch_id, business_date, revision, line);
create index on ops.quarantine_event (run_id) where run_id is not null;

grant select on ops.quarantine_event to loader, transformer, auditor, publisher;
grant insert on ops.quarantine_event to loader;
-- A retry compares its verdicts with those on record in a temporary table, however many they are.
do $$
begin
    execute format('grant temporary on database %I to loader', current_database());
end
$$;

-- The views of 0002, but for load_id: that of the slice, or the row's own where a retry loaded it.
create or replace view audit.loaded_slices as
select
    format('%s/%s/%s/r%s', feed, branch_id, business_date, revision) as slice,
    feed, branch_id, business_date, revision, load_id, retry_load_ids
from ops.slice
where status = 'loaded' and build_id = (select audit.build_id());

create or replace view audit.loaded_registrations as
select
    s.slice, s.revision,
    case when r._load_id = any (s.retry_load_ids) then r._load_id else s.load_id end as load_id,
    r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.participant_token, r.registration_no, r.branch_id,
    (r.registered_at at time zone 'Asia/Jakarta')::date as registered_on,
    r.birth_year, r.sex, r.district_code, r.occupation_code, r.declared_income, r.program_code, r.months_covered,
    r.channel_code, r.activity_code, r.officer_code, r.segment_code, r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.registrations as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'pendaftaran';

create or replace view audit.loaded_contributions as
select
    s.slice, s.revision,
    case when r._load_id = any (s.retry_load_ids) then r._load_id else s.load_id end as load_id,
    r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.participant_token, r.payment_id, r.branch_id,
    (r.paid_at at time zone 'Asia/Jakarta')::date as paid_on,
    r.payment_channel, r.coverage_start, r.months_covered, r.program_code,
    r.jkk_amount, r.jkm_amount, r.jht_amount, r.total_amount, r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.contributions as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'iuran';

create or replace view audit.loaded_activities as
select
    s.slice, s.revision,
    case when r._load_id = any (s.retry_load_ids) then r._load_id else s.load_id end as load_id,
    r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.activity_code, r.branch_id, r.activity_type,
    (r.started_at at time zone 'Asia/Jakarta')::date as started_on,
    r.started_at, r.ended_at, r.district_code, r.target_occupation, r.contacts, r.cost, r.duration_min,
    r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.activities as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'kegiatan';

create or replace view audit.loaded_targets as
select
    s.slice, s.revision,
    case when r._load_id = any (s.retry_load_ids) then r._load_id else s.load_id end as load_id,
    r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.branch_id, r.month, r.target_new, r.target_active, r.target_idr
from audit.loaded_slices as s
join raw.targets as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'target';
