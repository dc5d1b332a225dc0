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

drop function ops.keep_no_statistics(regclass);

create or replace view audit.quarantine_codes as
select s.slice, s.feed, s.branch_id, s.rows_sent, audit.code(coded.code) as code,
    count(distinct q.line)::float8 / nullif(s.rows_sent, 0) / audit.leniency(s.branch_id) as share
from (
    select format('%s/%s/%s/r%s', feed, branch_id, business_date, revision) as slice,
        feed, branch_id, business_date, revision, rows_sent
    from ops.slice
    where status = 'loaded' and build_id = audit.build_id()
) as s
join ops.quarantine as q using (feed, branch_id, business_date, revision)
cross join lateral unnest(q.errors) as coded (code)
where coalesce(q.closed_as, 'resolved') = 'resolved'
group by s.slice, s.feed, s.branch_id, s.rows_sent, audit.code(coded.code);

create or replace view ops.quarantine_by_code as
select s.feed, s.branch_id, s.business_date, s.revision, s.build_id, c.code, count(*) as rows
from ops.slice as s
join ops.quarantine as q using (feed, branch_id, business_date, revision)
cross join unnest(q.errors) as c (code)
where s.status in ('loaded', 'held') and coalesce(q.closed_as, 'resolved') = 'resolved'
group by s.feed, s.branch_id, s.business_date, s.revision, s.build_id, c.code;

-- Closed, and counted, all the same.
update ops.quarantine set closed_as = 'resolved' where closed_as = 'erased';
alter table ops.quarantine drop constraint quarantine_closed_as_check;
alter table ops.quarantine add constraint quarantine_closed_as_check
    check (closed_as in ('superseded', 'accepted', 'resolved'));
comment on column ops.quarantine.closed_as is
    'superseded: a higher revision is in force; accepted: loaded by a retry; resolved: needs no more work, and is still not loaded. Null: open.';
update ops.quarantine_event set event = 'resolved' where event = 'erased';
alter table ops.quarantine_event drop constraint quarantine_event_event_check;
alter table ops.quarantine_event add constraint quarantine_event_event_check
    check (event in ('accepted', 'judged_anew', 'displaced', 'resolved', 'found'));
comment on table ops.quarantine_event is
    'What became of quarantined rows by hand, by retry or by reading a slice again. accepted: passed and was loaded; judged_anew: still bad, with other codes, or bad again; displaced: an accepted row that lost its key to a retried one; found: an accepted row that is bad by the rules of a re-read; resolved: needs no more work.';

drop table ops.erasure_step, ops.erasure, vault.suppressed, locks.erasure;
