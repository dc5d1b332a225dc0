-- Who looked at persons, and what was done to what is held of them. Nobody has a privilege to write it: rows come by
-- ops.note_access alone, each with the hash of the one before, so that a row that was changed or taken out shows.
create table ops.access (
    access_id bigint primary key,
    noted_at timestamptz not null,
    action text not null,
    login text not null,
    done_by text not null,
    why text not null,
    subjects text[] not null,
    rows bigint,
    previous_hash text not null,
    hash text not null
);
comment on table ops.access is
    'Uses of personal data: reading of vault and of text as sent, reports to persons, erasures. Append-only, a hash chain; ops.access_faults() checks it.';
comment on column ops.access.subjects is 'Keyed hashes of the persons concerned, where they are known; never the NIK.';
comment on column ops.access.rows is 'Rows that were read or changed, where they are known beforehand.';

-- A number is taken even when the transaction that took it is rolled back, so that reading and then rolling back leaves
-- a gap, which ops.access_faults() reports; the line in the server's log tells who it was.
create sequence ops.access_id;

create function ops.access_hash(entry ops.access) returns text
language sql immutable set search_path = pg_catalog as $$
    select encode(sha256(convert_to(jsonb_build_array(
        entry.previous_hash, entry.access_id, (extract(epoch from entry.noted_at) * 1000000)::bigint, entry.action,
        entry.login, entry.done_by, entry.why, to_jsonb(entry.subjects), entry.rows
    )::text, 'UTF8')), 'hex')
$$;
comment on function ops.access_hash(ops.access) is 'SHA-256 over a row of ops.access and the hash of the row before.';
revoke all on function ops.access_hash(ops.access) from public;

create function ops.note_access(action text, done_by text, why text, subjects text[], row_count bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog as $$
declare
    entry ops.access;
begin
    if coalesce(btrim(action), '') = '' or coalesce(btrim(done_by), '') = '' or coalesce(btrim(why), '') = '' then
        raise invalid_parameter_value using message = 'an access needs an action, a name and a reason';
    end if;
    -- One at a time, to the end of the transaction: each row holds the hash of the one before.
    lock table ops.access in share row exclusive mode;
    entry.access_id := nextval('ops.access_id');
    entry.noted_at := clock_timestamp();
    entry.action := action;
    entry.login := session_user;
    entry.done_by := done_by;
    entry.why := why;
    entry.subjects := coalesce(subjects, '{}');
    entry.rows := row_count;
    select coalesce(max(a.hash), '') into entry.previous_hash
    from (select hash from ops.access order by access_id desc limit 1) a;
    entry.hash := ops.access_hash(entry);
    raise log 'access %: % by login %', entry.access_id, entry.action, entry.login;
    insert into ops.access select entry.*;
    return entry.access_id;
end
$$;
comment on function ops.note_access(text, text, text, text[], bigint) is
    'Adds a row to ops.access: what is done, by whom, why, to which persons (keyed hashes), and how many rows. Returns its number.';
revoke all on function ops.note_access(text, text, text, text[], bigint) from public;

create function ops.access_faults() returns table (access_id bigint, fault text)
language sql stable security definer set search_path = pg_catalog as $$
    with chain as (
        select a.*, coalesce(lag(a.hash) over w, '') as hash_before, coalesce(lag(a.access_id) over w, 0) as id_before
        from ops.access a window w as (order by a.access_id)
    )
    select c.access_id, 'changed: its hash is another' from chain c
    where c.hash <> ops.access_hash(row(
        c.access_id, c.noted_at, c.action, c.login, c.done_by, c.why, c.subjects, c.rows, c.previous_hash, c.hash
    )::ops.access)
    union all
    select c.access_id, 'does not follow the row before: one was taken out or put in'
    from chain c where c.previous_hash <> c.hash_before
    union all
    select c.access_id - 1, 'rolled back or taken out: ' || (c.access_id - c.id_before - 1) || ' numbers before the next'
    from chain c where c.access_id <> c.id_before + 1
    union all
    select s.last_value, 'rolled back or taken out: ' || (s.last_value - coalesce(m.last_id, 0)) || ' numbers at the end'
    from ops.access_id s cross join (select max(a.access_id) as last_id from ops.access a) m
    where s.is_called and s.last_value > coalesce(m.last_id, 0)
    order by 1
$$;
comment on function ops.access_faults() is 'Where ops.access is not as it was written: changed rows, missing ones, and accesses that were rolled back.';
revoke all on function ops.access_faults() from public;

-- Also the owner, who can do anything, has to do this on purpose.
create function ops.refuse_change() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise insufficient_privilege using message = format('%I is append-only', tg_table_name);
end
$$;
revoke all on function ops.refuse_change() from public;
create trigger append_only before update or delete or truncate on ops.access
    for each statement execute function ops.refuse_change();

grant usage on schema ops to pii;
grant select on ops.access to auditor;
grant execute on function ops.note_access(text, text, text, text[], bigint) to loader, auditor, publisher, pii;
grant execute on function ops.access_faults() to auditor;
