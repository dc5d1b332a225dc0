-- Restrictions, and readings of the vault, are on record by token. A change of the key makes new tokens from NIKs, and
-- rows of feeds lose theirs when a revision leaves the person out.
create table vault.person (
    nik text primary key,
    participant_token text not null,
    last_at timestamptz not null default now()
);
create index on vault.person (participant_token);
comment on table vault.person is
    'The NIK of each person of whom a restriction or a reading of vault is on record, so that a change of the key finds the token of today.';
comment on column vault.person.last_at is 'When the person was last restricted, released or read; the period of vault runs from then.';
select ops.keep_no_statistics('vault.person');
grant select (participant_token, last_at), insert, update (last_at), delete on vault.person to loader;

-- Those of now who have rows in force.
do $$
declare
    feed_table regclass;
begin
    for feed_table in
        select c.oid from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = 'vault'::regnamespace and c.relkind = 'p' and not c.relispartition
            and a.attname = 'nik' and not a.attisdropped
    loop
        execute format(
            'insert into vault.person (nik, participant_token)'
            ' select distinct nik, participant_token from %s v where not starts_with(participant_token, ''00'') and ('
            ' exists (select from vault.seen s where s.participant_token = v.participant_token)'
            ' or exists (select from vault.restricted r where r.participant_token = v.participant_token))'
            ' on conflict do nothing',
            feed_table
        );
    end loop;
end
$$;
