alter table raw.registrations
    add column work_place text,
    add column work_start text,
    add column work_end text,
    add column declared_income bigint;
update raw.registrations as r
set work_place = v.work_place, work_start = v.work_start, work_end = v.work_end, declared_income = v.declared_income
from vault.registrations as v
where (v._branch_id, v._business_date, v._revision, v._line) = (r._branch_id, r._business_date, r._revision, r._line);
alter table raw.registrations alter column declared_income set not null;

alter table raw.activities
    add column activity_name text,
    add column place text,
    add column radio_station text;
update raw.activities as r
set activity_name = v.activity_name, place = v.place, radio_station = v.radio_station
from vault.activities as v
where (v._branch_id, v._business_date, v._revision, v._line) = (r._branch_id, r._business_date, r._revision, r._line);
alter table raw.activities alter column activity_name set not null;

drop table vault.activities;
alter table vault.registrations
    drop column work_place,
    drop column work_start,
    drop column work_end,
    drop column declared_income;

drop view audit.loaded_registrations;
create view audit.loaded_registrations as
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
grant select on audit.loaded_registrations to auditor;

delete from ops.setting where name = 'marked';
