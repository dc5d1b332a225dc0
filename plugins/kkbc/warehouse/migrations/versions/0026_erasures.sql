create table vault.suppressed (
    token text primary key,
    erasure_id bigint not null,
    suppressed_at timestamptz not null default now(),
    suppressed_id uuid not null unique default gen_random_uuid()
);
comment on column vault.suppressed.suppressed_id is
    'Stays the same when another key makes another token: by it a list beside backups and a restored warehouse are compared.';
comment on table vault.suppressed is
    'The suppression list: who was erased. Rows of these persons are quarantined as ERASED, whenever they come again.';
comment on column vault.suppressed.token is 'Of the NIK, under the keys of the suppression list, which are keys of their own.';

create table ops.erasure (
    erasure_id bigint generated always as identity primary key,
    request text not null unique,
    persons_hash text not null,
    persons integer not null,
    why text not null,
    done_by text not null,
    access_id bigint,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    outcome text not null default 'running' check (outcome in ('waiting', 'running', 'done', 'refused')),
    proof jsonb
);
comment on table ops.erasure is 'Requests to erase persons, and what became of them; no personal data.';
comment on column ops.erasure.persons_hash is
    'Keyed hash of all NIKs of the request: tells whether the same persons are asked for again.';
comment on column ops.erasure.outcome is
    'waiting: for a person to approve it; running: under way, or broken off, and goes on when it is asked for again; done; refused.';
comment on column ops.erasure.proof is 'What was erased where, what was searched afterwards, and what was found: nothing.';

create table ops.erasure_step (
    erasure_id bigint not null references ops.erasure,
    step text not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    detail jsonb not null default '{}',
    primary key (erasure_id, step)
);
comment on table ops.erasure_step is 'Steps of erasures: what is finished is not done again.';

-- Taken by the owner alone: persons are erased by one at a time.
create table locks.erasure ();

grant select on vault.suppressed to loader;
grant select on ops.erasure, ops.erasure_step to auditor, loader;

-- Rows of the quarantine that an erasure closed: nobody retries or resolves them, and they go on being counted.
alter table ops.quarantine drop constraint quarantine_closed_as_check;
alter table ops.quarantine add constraint quarantine_closed_as_check
    check (closed_as in ('superseded', 'accepted', 'resolved', 'erased'));
comment on column ops.quarantine.closed_as is
    'superseded: a higher revision is in force; accepted: loaded by a retry; resolved: needs no more work, and is still not loaded; erased: of a person who was erased, and not loaded either. Null: open.';
alter table ops.quarantine_event drop constraint quarantine_event_event_check;
alter table ops.quarantine_event add constraint quarantine_event_event_check
    check (event in ('accepted', 'judged_anew', 'displaced', 'resolved', 'found', 'erased'));
comment on table ops.quarantine_event is
    'What became of quarantined rows by hand, by retry, by reading a slice again or by an erasure. accepted: passed and was loaded; judged_anew: still bad, with other codes, or bad again; displaced: an accepted row that lost its key to a retried one; found: an accepted row that is bad by the rules of a re-read; resolved: needs no more work; erased: its person was erased.';

create or replace view ops.quarantine_by_code as
select s.feed, s.branch_id, s.business_date, s.revision, s.build_id, c.code, count(*) as rows
from ops.slice as s
join ops.quarantine as q using (feed, branch_id, business_date, revision)
cross join unnest(q.errors) as c (code)
where s.status in ('loaded', 'held') and coalesce(q.closed_as, 'resolved') in ('resolved', 'erased')
group by s.feed, s.branch_id, s.business_date, s.revision, s.build_id, c.code;

-- An erased person is no fault of the branch: the gate does not look at ERASED.
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
where coalesce(q.closed_as, 'resolved') in ('resolved', 'erased') and coded.code <> 'ERASED'
group by s.slice, s.feed, s.branch_id, s.rows_sent, audit.code(coded.code);

-- The planner's statistics of a column hold values of it: of persons none are kept. They serve nobody, for nobody looks a
-- person up by name.
create function ops.keep_no_statistics(relation regclass) returns void
language plpgsql set search_path = pg_catalog as $$
declare
    name name;
begin
    for name in
        select attname from pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped
            and attname not like '\_%' and attname <> 'participant_token' and attstattarget is distinct from 0
    loop
        execute format('alter table %s alter column %I set statistics 0', relation, name);
    end loop;
end
$$;
comment on function ops.keep_no_statistics(regclass) is
    'Has the planner keep no statistics of the personal columns of a table of vault.';
revoke all on function ops.keep_no_statistics(regclass) from public;

do $$
declare
    relation regclass;
    name name;
    type text;
begin
    for relation in
        select oid from pg_class where relnamespace = 'vault'::regnamespace and relkind in ('p', 'r')
            and relname <> 'suppressed' order by relkind = 'r'
    loop
        -- A column that is given its own type loses its statistics, and nothing else. Of partitions with their table.
        for name, type in
            select attname, format_type(atttypid, atttypmod) from pg_attribute
            where attrelid = relation and attnum > 0 and not attisdropped
                and attname not like '\_%' and attname <> 'participant_token'
                and not (select relispartition from pg_class where oid = relation)
        loop
            execute format('alter table %s alter column %I type %s', relation, name, type);
        end loop;
        perform ops.keep_no_statistics(relation);
    end loop;
end
$$;

-- New partitions keep none either.
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
        if starts_with(parent, 'vault.') then
            perform ops.keep_no_statistics((parent || part)::regclass);
        end if;
    end loop;
end
$$;
