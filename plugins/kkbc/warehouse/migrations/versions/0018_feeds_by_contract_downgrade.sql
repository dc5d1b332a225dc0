drop view audit.loaded_registrations;
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

drop view audit.loaded_contributions;
create view audit.loaded_contributions as
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
grant select on audit.loaded_contributions to auditor;

-- Partitions of the tables that the version before knows; those of other feeds stay, with what is in them.
create or replace function ops.ensure_partitions(day date) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
    first_day date := date_trunc('month', day)::date;
    part text := to_char(day, '"_"YYYY"_"MM');
    bounds text := format('from (%L) to (%L)', first_day, (first_day + interval '1 month')::date);
    parent text;
begin
    -- A warehouse that has a partition of such a month already goes on as it was.
    if day < date '2014-01-01' and not exists (
        select from pg_inherits join pg_class as child on child.oid = inhrelid
        where inhparent = 'raw.targets'::regclass and child.relname ~ '_[0-9]{4}_[0-9]{2}$'
        and right(child.relname, 7) < '2014_01'
    ) then
        part := '_before_2014';
        bounds := 'from (minvalue) to (''2014-01-01'')';
    end if;
    if to_regclass('raw.targets' || part) is not null then
        return;
    end if;
    lock table locks.partitions in exclusive mode;
    foreach parent in array array['vault.registrations', 'vault.contributions', 'vault.activities', 'raw.registrations', 'raw.contributions', 'raw.activities', 'raw.targets'] loop
        execute format('create table if not exists %s partition of %s for values %s', parent || part, parent, bounds);
    end loop;
end
$$;

create or replace view ops.slice_standing as
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

alter table ops.feed drop column has_nik, drop column has_contact, drop column expected_from;
revoke select on ops.feed from transformer, publisher;
grant insert, update (sender), delete on ops.feed to loader;
