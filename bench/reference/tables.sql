-- The tables that the tasks of the branches fill, as the dbt project's sources name them.
create schema raw;
create schema ops;
-- Two processes of dbt that both make a schema get in each other's way.
create schema next;
create schema staging;

create table raw.registrations (
    registration_no text, branch_id text, registered_at timestamptz, birth_year int, sex text, district_code text,
    occupation_code text, program_code text, months_covered bigint, channel_code text, activity_code text,
    officer_code text, segment_code text, record_status text, updated_at timestamptz, participant_token text,
    _business_date date, _branch_id text, _revision int, _file text, _line bigint, _load_id bigint
);
create table raw.contributions (
    payment_id text, branch_id text, paid_at timestamptz, payment_channel text, coverage_start date,
    months_covered bigint, program_code text, jkk_amount bigint, jkm_amount bigint, jht_amount bigint,
    total_amount bigint, record_status text, updated_at timestamptz, participant_token text,
    _business_date date, _branch_id text, _revision int, _file text, _line bigint, _load_id bigint
);
create table raw.activities (
    activity_code text, branch_id text, activity_type text, activity_name text, started_at timestamptz,
    ended_at timestamptz, place text, district_code text, target_occupation text, contacts bigint, cost bigint,
    radio_station text, duration_min bigint, record_status text, updated_at timestamptz,
    _business_date date, _branch_id text, _revision int, _file text, _line bigint, _load_id bigint
);
create table raw.targets (
    branch_id text, month date, target_new bigint, target_active bigint, target_idr bigint,
    _business_date date, _branch_id text, _revision int, _file text, _line bigint, _load_id bigint
);
create index on raw.registrations (_branch_id, _business_date);
create index on raw.contributions (_branch_id, _business_date);
create index on raw.activities (_branch_id, _business_date);
create index on raw.targets (_branch_id, _business_date);

create table ops.branch (
    branch_id text, timezone text, tier int, active_from date, active_to date, branch_name text, kanwil_id text,
    province_code text, regency_code text, lat double precision, lng double precision
);
create table ops.feed (feed text, sender text, has_nik boolean, has_contact boolean, expected_from date);
insert into ops.feed values
('pendaftaran', 'branch', true, true, null),
('iuran', 'branch', true, false, null),
('kegiatan', 'branch', false, false, null),
('target', 'head_office', false, false, null);
create table ops.slice (
    feed text, branch_id text, business_date date, revision int, status text, sent_at timestamptz, rows_sent bigint,
    rows_accepted bigint, rows_quarantined bigint, warnings bigint, rows_nik_valid bigint, rows_contactable bigint,
    build_id bigint
);
create table ops.quarantine (
    feed text, branch_id text, business_date date, revision int, line bigint, errors text [], closed_as text
);
