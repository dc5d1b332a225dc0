-- Roles are of the server, not of the database: several installations and test databases share them.
do $$
declare
    name text;
begin
    foreach name in array array['loader', 'transformer', 'auditor', 'publisher', 'analyst', 'branch_bi', 'pii'] loop
        begin
            execute format('create role %I nologin', name);
        exception when duplicate_object or unique_violation then null;
        end;
    end loop;
    begin
        create role bi login;
    exception when duplicate_object or unique_violation then null;
    end;
end
$$;
-- The migrating user must be able to hand objects over to these roles and to act as them.
do $$
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant loader, transformer, auditor, publisher, analyst, bi, branch_bi, pii to %I', current_user);
    end if;
end
$$;

create schema ops;
create schema raw;
create schema vault;
create schema staging authorization transformer;
create schema next authorization transformer;
create schema audit;
create schema bi authorization publisher;
create schema bi_detail authorization publisher;

-- ---------------------------------------------------------------------------------------------------------------------
-- ops: what was done, and what is known of every slice
-- ---------------------------------------------------------------------------------------------------------------------
create table ops.setting (
    name text primary key,
    value text not null,
    set_at timestamptz not null default now()
);
comment on table ops.setting is 'Facts of the installation that must outlive a configuration file, such as first_business_date.';

create table ops.branch (
    branch_id text primary key,
    kind text not null,
    connection text,
    timezone text not null,
    tier integer not null,
    active_from date,
    active_to date,
    synced_at timestamptz not null default now()
);
comment on table ops.branch is 'The branch registry as of the latest run, without head office.';

create table ops.run (
    run_id text primary key,
    as_of date not null,
    mode text not null check (mode in ('airflow', 'plain')),
    source_root text,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    outcome text not null default 'running' check (outcome in ('running', 'published', 'gate_failed', 'failed', 'nothing_new'))
);
comment on table ops.run is 'One row a night that was run.';

create table ops.step (
    step_id bigint generated always as identity primary key,
    run_id text not null references ops.run,
    step text not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    outcome text not null default 'running' check (outcome in ('running', 'ok', 'failed')),
    detail jsonb
);
comment on table ops.step is 'Steps of a run with their times: where a night goes.';
create index on ops.step (run_id);

create table ops.attempt (
    attempt_id bigint generated always as identity primary key,
    run_id text references ops.run,
    branch_id text not null,
    kind text not null,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    load_seconds double precision not null default 0,
    slices integer not null default 0,
    bytes bigint not null default 0,
    rows bigint not null default 0,
    outcome text not null check (outcome in ('loaded', 'nothing_new', 'failed')),
    reason text,
    notes text[] not null default '{}'
);
comment on table ops.attempt is 'Each visit to a branch: when, by which way, how much came, what was odd (ignored files, repeated manifests, drift).';
create index on ops.attempt (branch_id, started_at);

create table ops.build (
    build_id bigint generated always as identity primary key,
    run_id text references ops.run,
    as_of date not null,
    first_business_date date not null,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    outcome text not null default 'running' check (outcome in ('running', 'published', 'gate_failed', 'failed'))
);
comment on table ops.build is 'One build of the marts over the slices loaded since the last publication.';

create table ops.slice (
    feed text not null,
    branch_id text not null,
    business_date date not null,
    revision integer not null check (revision >= 1),
    status text not null check (status in ('loaded', 'superseded', 'rejected')),
    reason text,
    detail text,
    sent_at timestamptz,
    first_seen_at timestamptz not null default now(),
    loaded_at timestamptz,
    manifest_sha256 text not null,
    manifest_rows bigint,
    rows_sent bigint not null default 0,
    rows_accepted bigint not null default 0,
    rows_quarantined bigint not null default 0,
    warnings bigint not null default 0,
    rows_nik_valid bigint,
    rows_contactable bigint,
    file_name text,
    file_format text,
    bytes bigint,
    sha256 text,
    landed_uri text,
    drift jsonb,
    load_id bigint,
    run_id text references ops.run,
    build_id bigint references ops.build,
    primary key (feed, branch_id, business_date, revision),
    check (rows_sent = rows_accepted + rows_quarantined),
    check (status <> 'rejected' or (reason is not null and rows_sent = 0))
);
comment on table ops.slice is 'Every revision of every slice ever seen. loaded: in force; superseded: replaced by a higher revision; rejected: see reason.';
create unique index slice_in_force on ops.slice (feed, branch_id, business_date) where status = 'loaded';
create index slice_by_branch on ops.slice (branch_id, business_date);
create index slice_by_build on ops.slice (build_id);
create index slice_rejected on ops.slice (branch_id) where status = 'rejected';

create table ops.manifest (
    branch_id text not null,
    business_date date not null,
    name text not null,
    stamp text not null,
    sha256 text not null,
    settled boolean not null,
    seen_at timestamptz not null default now(),
    primary key (branch_id, business_date, name)
);
comment on table ops.manifest is
    'Manifests seen, by stamp (size and time, or what the way of delivery offers). settled: nothing of it is left to do, so it is not read again until its stamp changes.';

create sequence ops.load_id;

create table ops.quarantine (
    feed text not null,
    branch_id text not null,
    business_date date not null,
    revision integer not null,
    line bigint not null,
    errors text[] not null check (cardinality(errors) > 0),
    warnings text[] not null default '{}',
    fields text[] not null default '{}',
    first_seen_at timestamptz not null default now(),
    closed_at timestamptz,
    closed_as text check (closed_as in ('superseded', 'accepted', 'resolved')),
    closed_why text,
    load_id bigint not null,
    primary key (feed, branch_id, business_date, revision, line),
    check ((closed_at is null) = (closed_as is null))
);
comment on table ops.quarantine is 'One row a quarantined row: place, codes and fields, never values. The raw text lies in landing.';

create table ops.dbt_result (
    build_id bigint references ops.build,
    layer text not null,
    unique_id text not null,
    resource_type text not null,
    status text not null,
    seconds double precision not null,
    rows_affected bigint,
    message text,
    recorded_at timestamptz not null default now()
);
comment on table ops.dbt_result is 'Result of every dbt node of every build.';
create index on ops.dbt_result (build_id);

create table ops.expectation_result (
    build_id bigint references ops.build,
    checkpoint text not null,
    suite text not null,
    expectation text not null,
    column_name text,
    severity text not null,
    success boolean not null,
    observed text,
    slice text,
    recorded_at timestamptz not null default now()
);
comment on table ops.expectation_result is 'Result of every expectation of every audit; failing ones name slice and observed value, never personal data.';
create index on ops.expectation_result (build_id);

create table ops.publication (
    publication_id bigint generated always as identity primary key,
    build_id bigint not null references ops.build,
    as_of date not null,
    published_at timestamptz not null default now(),
    tables jsonb not null
);
comment on table ops.publication is 'What was published when: rows inserted and deleted by table.';

-- ---------------------------------------------------------------------------------------------------------------------
-- raw: typed rows of the slices in force, without personal data; columns with an underscore are the row's lineage
-- ---------------------------------------------------------------------------------------------------------------------
create table raw.registrations (
    _business_date date not null,
    _branch_id text not null,
    _revision integer not null,
    _file text,
    _line bigint not null,
    _load_id bigint not null,
    _warnings text[] not null default '{}',
    participant_token text not null,
    registration_no text not null,
    branch_id text not null,
    registered_at timestamptz not null,
    birth_year integer not null,
    sex text not null,
    district_code text,
    occupation_code text not null,
    work_place text,
    work_start text,
    work_end text,
    declared_income bigint not null,
    program_code text not null,
    months_covered bigint not null,
    channel_code text not null,
    activity_code text,
    officer_code text,
    segment_code text not null,
    record_status text not null,
    updated_at timestamptz not null
) partition by range (_business_date);

create table raw.contributions (
    _business_date date not null,
    _branch_id text not null,
    _revision integer not null,
    _file text,
    _line bigint not null,
    _load_id bigint not null,
    _warnings text[] not null default '{}',
    participant_token text not null,
    payment_id text not null,
    branch_id text not null,
    paid_at timestamptz not null,
    payment_channel text not null,
    coverage_start date not null,
    months_covered bigint not null,
    program_code text not null,
    jkk_amount bigint not null,
    jkm_amount bigint not null,
    jht_amount bigint not null,
    total_amount bigint not null,
    record_status text not null,
    updated_at timestamptz not null
) partition by range (_business_date);

create table raw.activities (
    _business_date date not null,
    _branch_id text not null,
    _revision integer not null,
    _file text,
    _line bigint not null,
    _load_id bigint not null,
    _warnings text[] not null default '{}',
    activity_code text not null,
    branch_id text not null,
    activity_type text not null,
    activity_name text not null,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    place text,
    district_code text,
    target_occupation text,
    contacts bigint not null,
    cost bigint,
    radio_station text,
    duration_min bigint,
    record_status text not null,
    updated_at timestamptz not null
) partition by range (_business_date);

create table raw.targets (
    _business_date date not null,
    _branch_id text not null,
    _revision integer not null,
    _file text,
    _line bigint not null,
    _load_id bigint not null,
    _warnings text[] not null default '{}',
    branch_id text not null,
    month date not null,
    target_new bigint not null,
    target_active bigint not null,
    target_idr bigint not null
) partition by range (_business_date);

-- vault: who is behind a row. The only place of the database with NIK, names and contacts.
create table vault.registrations (
    _business_date date not null,
    _branch_id text not null,
    _revision integer not null,
    _line bigint not null,
    _load_id bigint not null,
    participant_token text not null,
    nik text not null,
    kpj text,
    full_name text not null,
    birth_place text,
    birth_date date not null,
    phone text,
    email text,
    address text,
    postal_code text
) partition by range (_business_date);

create table vault.contributions (
    _business_date date not null,
    _branch_id text not null,
    _revision integer not null,
    _line bigint not null,
    _load_id bigint not null,
    participant_token text not null,
    nik text not null
) partition by range (_business_date);

-- A slice is deleted and inserted as a whole, so its address is the index.
create index on raw.registrations (_branch_id, _business_date);
create index on raw.contributions (_branch_id, _business_date);
create index on raw.activities (_branch_id, _business_date);
create index on raw.targets (_branch_id, _business_date);
create index on vault.registrations (_branch_id, _business_date);
create index on vault.contributions (_branch_id, _business_date);
create index on vault.registrations (participant_token);
create index on vault.contributions (participant_token);

-- Makes the month partitions that hold `day`. Owned by the migrating user, so that the loader may add partitions and
-- nothing else; the lock keeps two loads from making the same one.
create function ops.ensure_partitions(day date) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
    first_day date := date_trunc('month', day)::date;
    part text := to_char(day, '"_"YYYY"_"MM');
    parent text;
begin
    if to_regclass('vault.contributions' || part) is not null then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext('kkbc.partitions'));
    foreach parent in array array['raw.registrations', 'raw.contributions', 'raw.activities', 'raw.targets',
                                  'vault.registrations', 'vault.contributions'] loop
        execute format('create table if not exists %s partition of %s for values from (%L) to (%L)',
                       parent || part, parent, first_day, (first_day + interval '1 month')::date);
    end loop;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Least privilege
-- ---------------------------------------------------------------------------------------------------------------------
revoke all on function ops.ensure_partitions(date) from public;
grant execute on function ops.ensure_partitions(date) to loader;

grant usage on schema ops to loader, transformer, auditor, publisher;
grant select on all tables in schema ops to loader, transformer, auditor, publisher;
grant insert, update, delete on ops.setting, ops.branch, ops.run, ops.step, ops.attempt, ops.slice,
    ops.manifest, ops.quarantine to loader;
grant usage on sequence ops.load_id to loader;
grant insert, update on ops.run, ops.step, ops.build, ops.dbt_result to transformer;
grant update (build_id) on ops.slice to transformer;
grant insert, update on ops.step, ops.expectation_result to auditor;
grant insert, update on ops.run, ops.step, ops.build, ops.publication to publisher;

grant usage on schema raw to loader, transformer, auditor;
grant select, insert, delete on all tables in schema raw to loader;
grant select on all tables in schema raw to transformer, auditor;

grant usage on schema vault to loader, pii;
grant select, insert, delete on all tables in schema vault to loader;
grant select on all tables in schema vault to pii;

grant usage on schema staging, next to auditor, publisher;
alter default privileges for role transformer in schema staging grant select on tables to auditor;
alter default privileges for role transformer in schema next grant select on tables to auditor, publisher;

grant usage on schema audit to auditor;

grant usage on schema bi to bi, analyst, branch_bi, auditor;
grant usage on schema bi_detail to analyst, auditor;
alter default privileges for role publisher in schema bi grant select on tables to bi, analyst, auditor;
alter default privileges for role publisher in schema bi_detail grant select on tables to analyst, auditor;
