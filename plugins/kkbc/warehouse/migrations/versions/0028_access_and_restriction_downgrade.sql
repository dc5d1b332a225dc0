drop view if exists next.int_contributions_in_force;
drop table if exists next.int_contributions_uncounted, next.int_participants_restricted;
alter table ops.built drop column restrictions;
drop view ops.restriction_change;
drop view ops.restricted_participant;
drop table vault.restricted;
drop function ops.accesses_of(text, text);
drop function ops.persons_seen(bigint);
drop table vault.seen;

do $$
declare
    reader regprocedure;
    feed_table regclass;
begin
    for reader in select oid from pg_proc where pronamespace = 'vault'::regnamespace and proname like 'read\_%' loop
        execute format('drop function %s', reader);
    end loop;
    for feed_table in
        select c.oid from pg_class c
        where c.relnamespace = 'vault'::regnamespace and c.relkind = 'p' and not c.relispartition
    loop
        -- Taken from a table, a privilege is taken from its columns too.
        execute format('revoke select on %s from loader', feed_table);
        execute format('grant select on %s to loader, pii', feed_table);
    end loop;
end
$$;
