-- Vault first, then raw: the order in which loads lock them.
alter table vault.registrations
    add column work_place text,
    add column work_start text,
    add column work_end text,
    add column declared_income bigint;

update vault.registrations as v
set work_place = r.work_place, work_start = r.work_start, work_end = r.work_end, declared_income = r.declared_income
from raw.registrations as r
where (v._branch_id, v._business_date, v._revision, v._line) = (r._branch_id, r._business_date, r._revision, r._line);

create table vault.activities (
    _business_date date not null,
    _branch_id text not null,
    _revision integer not null,
    _line bigint not null,
    _load_id bigint not null,
    activity_name text not null,
    place text,
    radio_station text
) partition by range (_business_date);
create index on vault.activities (_branch_id, _business_date);
comment on table vault.activities is
    'What branches type freely about an activity: its name, place and radio station may name a person.';

-- A partition for each that raw.activities has, by the same bounds and name.
do $$
declare
    part record;
begin
    for part in
        select child.relname, pg_get_expr(child.relpartbound, child.oid) as bounds
        from pg_inherits join pg_class as child on child.oid = inhrelid
        where inhparent = 'raw.activities'::regclass
    loop
        execute format('create table vault.%I partition of vault.activities %s', part.relname, part.bounds);
    end loop;
end
$$;

insert into vault.activities (_business_date, _branch_id, _revision, _line, _load_id, activity_name, place, radio_station)
select _business_date, _branch_id, _revision, _line, _load_id, activity_name, place, radio_station from raw.activities;

grant select, insert, delete on vault.activities to loader;
grant select on vault.activities to pii;

drop view audit.loaded_registrations;
-- Views of staging that show these columns are made anew by the next build, which makes all marts anew.
alter table raw.registrations
    drop column work_place cascade,
    drop column work_start cascade,
    drop column work_end cascade,
    drop column declared_income cascade;
alter table raw.activities
    drop column activity_name cascade,
    drop column place cascade,
    drop column radio_station cascade;

create view audit.loaded_registrations as
select
    s.slice, s.revision,
    case when r._load_id = any (s.retry_load_ids) then r._load_id else s.load_id end as load_id,
    r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.participant_token, r.registration_no, r.branch_id,
    (r.registered_at at time zone 'Asia/Jakarta')::date as registered_on,
    r.birth_year, r.sex, r.district_code, r.occupation_code, r.program_code, r.months_covered,
    r.channel_code, r.activity_code, r.officer_code, r.segment_code, r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.registrations as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'pendaftaran';
grant select on audit.loaded_registrations to auditor;

-- What was noted before may quote names that branches chose and values that a database or library quoted, and nobody
-- can tell which. The figures beside it stay; codes and names of files are marked in place, by kkbc.warehouse.remarking.
update ops.attempt set notes = '{}' where notes <> '{}';
update ops.attempt set reason = split_part(reason, ':', 1) where reason like '%:%';
update ops.slice set detail = null where detail is not null;
update ops.slice set drift = drift - 'extra_columns' - 'sheet' where drift ?| array['extra_columns', 'sheet'];
update ops.dbt_result set message = null where status in ('warn', 'error', 'fail') and message is not null;
update ops.step set detail = jsonb_build_object('reason', split_part(detail ->> 'reason', ':', 1))
where detail ->> 'reason' like '%:%';
update ops.run set alert = split_part(alert, E'\n', 1) where alert like E'%\n%';
