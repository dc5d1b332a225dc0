-- The build that a session audits: its setting kkbc.build_id, else the latest build.
create function audit.build_id() returns bigint
language sql stable as $$
    select coalesce(nullif(current_setting('kkbc.build_id', true), '')::bigint, (select max(build_id) from ops.build))
$$;

create view audit.build as
select build_id, run_id, as_of, first_business_date, outcome
from ops.build
where build_id = (select audit.build_id());
comment on view audit.build is 'The build at hand, one row.';

create view audit.slices as
select
    format('%s/%s/%s/r%s', s.feed, s.branch_id, s.business_date, s.revision) as slice,
    s.feed,
    s.branch_id,
    s.business_date,
    s.revision,
    s.status,
    s.reason,
    s.manifest_rows,
    s.rows_sent,
    s.rows_accepted,
    s.rows_quarantined,
    s.rows_accepted + s.rows_quarantined as rows_accounted_for,
    s.rows_quarantined::float8 / nullif(s.rows_sent, 0) as quarantined_rate,
    usual.rows as usual_rows,
    s.rows_sent / nullif(usual.rows, 0) as volume_ratio
from ops.slice as s
cross join lateral (
    -- Fewer than 3 weeks are no custom yet.
    select case
        when count(*) >= 3 then percentile_cont(0.5) within group (order by earlier.rows_sent::float8)
    end as rows
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
    'Every revision that the build at hand takes in, rejected and superseded ones too. usual_rows: median of what the branch sent on the same weekday of the 8 weeks before, null when it did so in fewer than 3 of them.';

create view audit.loaded_slices as
select
    format('%s/%s/%s/r%s', feed, branch_id, business_date, revision) as slice,
    feed, branch_id, business_date, revision, load_id
from ops.slice
where status = 'loaded' and build_id = (select audit.build_id());
comment on view audit.loaded_slices is 'The slices that the build at hand takes in and that are in force.';

-- The rows that lie in raw under those slices. revision and load_id are the slice's, those with an underscore
-- the row's; the days are days of Asia/Jakarta.
create view audit.loaded_registrations as
select
    s.slice, s.revision, s.load_id, r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.participant_token, r.registration_no, r.branch_id,
    (r.registered_at at time zone 'Asia/Jakarta')::date as registered_on,
    r.birth_year, r.sex, r.district_code, r.occupation_code, r.declared_income, r.program_code, r.months_covered,
    r.channel_code, r.activity_code, r.officer_code, r.segment_code, r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.registrations as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'pendaftaran';

create view audit.loaded_contributions as
select
    s.slice, s.revision, s.load_id, r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.participant_token, r.payment_id, r.branch_id,
    (r.paid_at at time zone 'Asia/Jakarta')::date as paid_on,
    r.payment_channel, r.coverage_start, r.months_covered, r.program_code,
    r.jkk_amount, r.jkm_amount, r.jht_amount, r.total_amount, r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.contributions as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'iuran';

create view audit.loaded_activities as
select
    s.slice, s.revision, s.load_id, r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.activity_code, r.branch_id, r.activity_type,
    (r.started_at at time zone 'Asia/Jakarta')::date as started_on,
    r.started_at, r.ended_at, r.district_code, r.target_occupation, r.contacts, r.cost, r.duration_min,
    r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.activities as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'kegiatan';

create view audit.loaded_targets as
select
    s.slice, s.revision, s.load_id, r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.branch_id, r.month, r.target_new, r.target_active, r.target_idr
from audit.loaded_slices as s
join raw.targets as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'target';

-- All history, worked out again from raw and on another way than the marts': the row in force of each key (Exchange
-- rule 1), without voided keys, of the deliveries up to the build's as_of.
create view audit.registrations_in_force as
select branch_id, registration_no, participant_token, registered_on
from (
    select distinct on (branch_id, registration_no)
        branch_id, registration_no, participant_token, record_status,
        (registered_at at time zone 'Asia/Jakarta')::date as registered_on
    from raw.registrations
    where _business_date <= (select as_of from audit.build)
    order by branch_id, registration_no, updated_at desc, _business_date desc, _line desc
) as latest
where record_status <> 'BATAL';

create view audit.contributions_in_force as
select branch_id, payment_id, participant_token, paid_on, coverage_start, total_amount
from (
    select distinct on (branch_id, payment_id)
        branch_id, payment_id, participant_token, coverage_start, total_amount, record_status,
        (paid_at at time zone 'Asia/Jakarta')::date as paid_on
    from raw.contributions
    where _business_date <= (select as_of from audit.build)
    order by branch_id, payment_id, updated_at desc, _business_date desc, _line desc
) as latest
where record_status <> 'BATAL';

grant select on all tables in schema audit to auditor;
grant execute on function audit.build_id() to auditor;
-- Each asset of the gate is read once into a temporary table, which all its expectations then share.
do $$
begin
    execute format('grant temporary on database %I to auditor', current_database());
end
$$;
