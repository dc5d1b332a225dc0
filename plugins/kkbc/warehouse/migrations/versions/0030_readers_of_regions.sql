-- ---------------------------------------------------------------------------------------------------------------------
-- The mapping: a reader sees a branch, the branches of a regional office, or all
-- ---------------------------------------------------------------------------------------------------------------------
alter table readers.branch_reader
    alter column branch_id drop not null,
    -- Written out, so that a row that lacks its branch is refused and does not mean all.
    add column level text not null default 'branch' check (level in ('branch', 'region', 'nation')),
    add column kanwil_id text,
    add column scope text not null generated always as (coalesce(branch_id, kanwil_id, 'all')) stored,
    add check ((level = 'branch') = (branch_id is not null)),
    add check ((level = 'region') = (kanwil_id is not null));
drop index readers.branch_reader_in_force;
create unique index branch_reader_in_force on readers.branch_reader (reader, scope) where revoked_at is null;
comment on table readers.branch_reader is
    'Who sees the rows of which branch, of which regional office, or all rows: a login of its own in role branch_bi, or a name for which a member of role bi_gateway has a ticket. Rows stay when they are revoked.';

create table readers.gateway_key (
    key bytea not null check (octet_length(key) = 32),
    created_at timestamptz not null default now(),
    created_by text not null,
    revoked_at timestamptz
);
create unique index gateway_key_in_force on readers.gateway_key ((true)) where revoked_at is null;
comment on table readers.gateway_key is
    'The key under which gateways sign for whom they ask. One is in force; nobody but the owner reads it.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Who the reader of a session is
-- ---------------------------------------------------------------------------------------------------------------------
-- HMAC-SHA256 (RFC 2104) for keys of at most one block, without an extension that a server may lack.
create function readers.hmac(message text, key bytea) returns bytea
language plpgsql immutable strict set search_path = pg_catalog as $$
declare
    block bytea := key || decode(repeat('00', 64 - octet_length(key)), 'hex');
    inner_block bytea := block;
    outer_block bytea := block;
begin
    for place in 0..63 loop
        inner_block := set_byte(inner_block, place, get_byte(block, place) # 54);
        outer_block := set_byte(outer_block, place, get_byte(block, place) # 92);
    end loop;
    return sha256(outer_block || sha256(inner_block || convert_to(message, 'UTF8')));
end
$$;
comment on function readers.hmac(text, bytea) is 'HMAC-SHA256 of a message.';

-- A login tells who it is. A gateway says for whom it asks, in app.bi_user, and proves that it said so: its users can
-- send `set app.bi_user` too, but cannot make the ticket. SET ROLE changes neither.
create function readers.reader() returns text
language plpgsql stable security definer set search_path = pg_catalog as $$
declare
    reader text := nullif(current_setting('app.bi_user', true), '');
    ticket text := coalesce(current_setting('app.bi_ticket', true), '');
    expires text := split_part(ticket, '.', 1);
begin
    if not pg_has_role(session_user, 'bi_gateway', 'member') then
        return session_user;
    end if;
    if reader is null or ticket !~ '^\d{1,11}\.[0-9a-f]{64}$' then
        return null;
    end if;
    -- One that were to hold for years would outlive whoever asked for it.
    if to_timestamp(expires::bigint) not between clock_timestamp() and clock_timestamp() + interval '1 day' then
        return null;
    end if;
    return (
        select reader from readers.gateway_key k
        where k.revoked_at is null
            and split_part(ticket, '.', 2) = encode(readers.hmac(expires || '.' || reader, k.key), 'hex')
    );
end
$$;
comment on function readers.reader() is
    'The reader of this session: its login, or for a gateway the name in app.bi_user if app.bi_ticket was made for it and has not expired.';

-- One array, which the planner looks up in an index of branches. A policy with `or sees all` would read every row of a
-- mart for each of its readers.
create or replace function readers.branches() returns text[]
language plpgsql stable security definer set search_path = pg_catalog as $$
declare
    me text := readers.reader();
    found text[];
    regions text[];
    nation boolean;
begin
    select
        coalesce(array_agg(m.branch_id) filter (where m.level = 'branch'), '{}'),
        array_agg(m.kanwil_id) filter (where m.level = 'region'),
        coalesce(bool_or(m.level = 'nation'), false)
    into found, regions, nation
    from readers.branch_reader m
    where m.revoked_at is null and m.reader = me;
    -- Which branches there are, and of which region, is published with their figures.
    if (nation or regions is not null) and to_regclass('bi.dim_branch') is not null then
        found := found || array(select d.branch_id from bi.dim_branch d where nation or d.kanwil_id = any(regions));
    end if;
    -- Head office is no branch, and sends slices too.
    return case when nation then found || 'HQ'::text else found end;
end
$$;
comment on function readers.branches() is
    'The branches whose rows the reader of this session sees: those that it was given, those of its regional offices, or all.';

create function readers.is_known() returns boolean
language sql stable security definer set search_path = pg_catalog as $$
    select exists (
        select from readers.branch_reader m where m.revoked_at is null and m.reader = (select readers.reader())
    )
$$;
comment on function readers.is_known() is 'Whether the reader of this session may see anything: the mapping has it.';

revoke all on function
    readers.hmac(text, bytea), readers.reader(), readers.branches(), readers.is_known() from public;
grant execute on function readers.reader(), readers.branches(), readers.is_known() to branch_bi;

-- What is of no branch was shown to every login in branch_bi, known or not. Tables that a rollback puts back bring their
-- policies with them; new tables get theirs from the publication.
do $$
declare
    relation regclass;
begin
    for relation in
        select c.oid from pg_policy p join pg_class c on c.oid = p.polrelid
        where c.relnamespace in ('bi'::regnamespace, 'bi_kept'::regnamespace) and p.polname = 'branches_all_rows'
    loop
        execute format('alter policy branches_all_rows on %s using ((select readers.is_known()))', relation);
    end loop;
end
$$;
