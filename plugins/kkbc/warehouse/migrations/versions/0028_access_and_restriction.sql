-- Who reads the vault leaves a row in ops.access: role pii has no table of it any more, but a function for each
-- (kkbc.warehouse.vault_readers), made from the contracts. Role loader keeps columns alone, granted there as well.
do $$
declare
    feed_table regclass;
begin
    for feed_table in
        select c.oid from pg_class c
        where c.relnamespace = 'vault'::regnamespace and c.relkind = 'p' and not c.relispartition
    loop
        execute format('revoke select on %s from pii, loader', feed_table);
    end loop;
end
$$;

-- Whose rows such a reading gave. By token, which a change of the key of the tokens rewrites here as everywhere.
create table vault.seen (
    access_id bigint not null references ops.access,
    participant_token text not null,
    primary key (access_id, participant_token)
);
create index on vault.seen (participant_token);
comment on table vault.seen is 'The participants whose rows of the vault were read, by the entry of ops.access.';

create function ops.accesses_of(subject text, token text) returns setof ops.access
language sql stable security definer set search_path = pg_catalog as $$
    select a.* from ops.access a
    where accesses_of.subject = any(a.subjects)
        or exists (
            select from vault.seen s
            where s.access_id = a.access_id and s.participant_token = accesses_of.token
        )
    order by a.access_id
$$;
comment on function ops.accesses_of(text, text) is
    'The entries of ops.access that concern a person, by the keyed hash of ops.access.subjects and by token.';
revoke all on function ops.accesses_of(text, text) from public;
grant execute on function ops.accesses_of(text, text) to auditor;

create function ops.persons_seen(access_id bigint) returns bigint
language sql stable security definer set search_path = pg_catalog as $$
    select count(*) from vault.seen s where s.access_id = persons_seen.access_id
$$;
comment on function ops.persons_seen(bigint) is 'Of how many participants an entry of ops.access gave rows of the vault.';
revoke all on function ops.persons_seen(bigint) from public;
grant execute on function ops.persons_seen(bigint) to auditor;

-- Restriction (UU 27/2022 article 11): rows stay in raw and vault, and no mart counts them until it is released.
create table vault.restricted (
    restriction_id bigint generated always as identity primary key,
    participant_token text not null,
    restricted_at timestamptz not null default now(),
    restricted_by text not null,
    why text not null,
    released_at timestamptz,
    released_by text,
    release_why text,
    check ((released_at is null) = (released_by is null) and (released_at is null) = (release_why is null))
);
create unique index on vault.restricted (participant_token) where released_at is null;
comment on table vault.restricted is 'Participants who are or were held out of the marts, by token.';
grant select, insert on vault.restricted to loader;
grant update (released_at, released_by, release_why) on vault.restricted to loader;

create view ops.restricted_participant as
select participant_token from vault.restricted where released_at is null;
comment on view ops.restricted_participant is 'The tokens that no mart may count now; all that the builds need of them.';
grant select on ops.restricted_participant to transformer, auditor;

-- Payments in force that do not count were those voided alone; the next build makes all marts anew.
drop view if exists next.int_contributions_in_force;
drop table if exists next.int_contributions_voided;

create view ops.restriction_change as
select count(*) + count(released_at) as changes from vault.restricted;
comment on view ops.restriction_change is 'How often restrictions began or ended, so that a build is due when one did.';
grant select on ops.restriction_change to loader, transformer, auditor;
alter table ops.built add column restrictions bigint not null default 0;
comment on column ops.built.restrictions is 'How often restrictions of persons had begun or ended before the build.';
