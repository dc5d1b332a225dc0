-- What the marts must know of a feed. `kkbc migrate` fills it from the contracts (kkbc.warehouse.feeds), and nobody else.
alter table ops.feed
    add column has_nik boolean not null default false,
    add column has_contact boolean not null default false,
    add column expected_from date;
comment on table ops.feed is
    'The feeds that have a contract. expected_from: the first business date that its senders owe it for; null: every one.';
revoke insert, delete on ops.feed from loader;
revoke update (sender) on ops.feed from loader;
grant select on ops.feed to transformer, publisher;

-- A slice is expected from the day on that its feed is owed; the rest of the view stays as it is.
do $$
declare
    found text := pg_get_viewdef('ops.slice_standing'::regclass);
    made text := replace(found, 'f.sender = ''branch''::text',
        'f.sender = ''branch''::text and (f.expected_from is null or f.expected_from <= n.first_business_date + number.number)');
begin
    if made = found then
        raise exception 'ops.slice_standing is not as this migration knows it';
    end if;
    execute 'create or replace view ops.slice_standing as ' || made;
end
$$;

-- It was a seed before.
drop table if exists next.feeds;

-- Partitions of every table that a feed has: those of raw and vault, as the catalogue has them. Vault first, then raw: the
-- order in which loads lock them.
create or replace function ops.ensure_partitions(day date) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
    first_day date := date_trunc('month', day)::date;
    part text := to_char(day, '"_"YYYY"_"MM');
    bounds text := format('from (%L) to (%L)', first_day, (first_day + interval '1 month')::date);
    parents text[];
    parent text;
begin
    -- A warehouse that has a partition of such a month already goes on as it was.
    if day < date '2014-01-01' and not exists (
        select from pg_inherits
        join pg_class as child on child.oid = inhrelid
        join pg_class as of on of.oid = inhparent
        where of.relnamespace in ('raw'::regnamespace, 'vault'::regnamespace)
            and child.relname ~ '_[0-9]{4}_[0-9]{2}$' and right(child.relname, 7) < '2014_01'
    ) then
        part := '_before_2014';
        bounds := 'from (minvalue) to (''2014-01-01'')';
    end if;
    select array_agg(format('%I.%s', n.nspname, c.relname) order by n.nspname desc, c.relname) into parents
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('raw', 'vault') and c.relkind = 'p'
        and to_regclass(format('%I.%I', n.nspname, c.relname || part)) is null;
    if parents is null then
        return;
    end if;
    lock table locks.partitions in exclusive mode;
    foreach parent in array parents loop
        execute format('create table if not exists %s partition of %s for values %s', parent || part, parent, bounds);
    end loop;
end
$$;

-- Beside the day of what a row tells stands its instant, as in the views that are made from contracts.
drop view audit.loaded_registrations;
create view audit.loaded_registrations as
select
    s.slice, s.revision,
    case when r._load_id = any (s.retry_load_ids) then r._load_id else s.load_id end as load_id,
    r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.participant_token, r.registration_no, r.branch_id,
    (r.registered_at at time zone 'Asia/Jakarta')::date as registered_on,
    r.registered_at,
    r.birth_year, r.sex, r.district_code, r.occupation_code, r.program_code, r.months_covered,
    r.channel_code, r.activity_code, r.officer_code, r.segment_code, r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.registrations as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'pendaftaran';
grant select on audit.loaded_registrations to auditor;

drop view audit.loaded_contributions;
create view audit.loaded_contributions as
select
    s.slice, s.revision,
    case when r._load_id = any (s.retry_load_ids) then r._load_id else s.load_id end as load_id,
    r._branch_id, r._business_date, r._revision, r._load_id, r._line,
    r.participant_token, r.payment_id, r.branch_id,
    (r.paid_at at time zone 'Asia/Jakarta')::date as paid_on,
    r.paid_at,
    r.payment_channel, r.coverage_start, r.months_covered, r.program_code,
    r.jkk_amount, r.jkm_amount, r.jht_amount, r.total_amount, r.record_status, r.updated_at
from audit.loaded_slices as s
join raw.contributions as r on r._branch_id = s.branch_id and r._business_date = s.business_date
where s.feed = 'iuran';
grant select on audit.loaded_contributions to auditor;
