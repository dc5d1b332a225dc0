-- A gap in the numbers of ops.access, as a reading that was rolled back leaves it, can be acknowledged: an entry of the
-- record says so, which names the numbers. One more number that is missing is another gap.
create or replace function ops.access_faults() returns table (access_id bigint, fault text)
language sql stable security definer set search_path = pg_catalog as $$
    with chain as (
        select a.*, coalesce(lag(a.hash) over w, '') as hash_before, coalesce(lag(a.access_id) over w, 0) as id_before
        from ops.access a window w as (order by a.access_id)
    ),
    -- By the owner alone: who looked and rolled it back does not say that this is known.
    known as (
        select m[1]::bigint as first_id, m[2]::bigint as last_id
        from ops.access a cross join regexp_match(a.action, '^gap ([0-9]{1,18})-([0-9]{1,18}) acknowledged$') m
        where m is not null and m[2]::bigint < a.access_id
            and a.login = (select pg_get_userbyid(d.datdba) from pg_database d where d.datname = current_database())
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
    from chain c where c.access_id <> c.id_before + 1 and not exists (
        select from known k where k.first_id = c.id_before + 1 and k.last_id = c.access_id - 1
    )
    union all
    select s.last_value, 'rolled back or taken out: ' || (s.last_value - coalesce(m.last_id, 0)) || ' numbers at the end'
    from ops.access_id s cross join (select max(a.access_id) as last_id from ops.access a) m
    where s.is_called and s.last_value > coalesce(m.last_id, 0)
    order by 1
$$;
comment on function ops.access_faults() is 'Where ops.access is not as it was written: changed rows, missing ones, and accesses that were rolled back and not acknowledged.';
