-- ---------------------------------------------------------------------------------------------------------------------
-- locks: what the steps of the pipeline lock, and nobody else can. The schema and locks.migration are there already.
-- ---------------------------------------------------------------------------------------------------------------------
create table locks.night ();
create table locks.opening ();
create table locks.publish ();
create table locks.build ();
create table locks.partitions ();
create table locks.named (name text primary key);
comment on table locks.named is 'Locks of a branch: one row for each branch and purpose.';

-- Who holds a lock: of the table of that name, or of the row of locks.named.
create function locks.holders(table_name text, row_name text) returns table (pid integer, what text, since timestamptz)
language sql stable security definer set search_path = pg_catalog as $$
    select a.pid, a.application_name, a.xact_start
    from pg_locks as l
    join pg_stat_activity as a on a.pid = l.pid
    where l.granted and l.pid <> pg_backend_pid() and (
        (l.locktype = 'relation' and l.mode in ('ExclusiveLock', 'ShareLock')
            and l.database = (select oid from pg_database where datname = current_database())
            and l.relation = to_regclass('locks.' || quote_ident(table_name)))
        or (l.locktype = 'transactionid'
            and l.transactionid = (select n.xmax from locks.named as n where n.name = row_name))
    )
    order by a.xact_start
$$;
comment on function locks.holders(text, text) is 'The sessions that hold a lock, by what they say they do.';

revoke all on function locks.holders(text, text) from public;
grant usage on schema locks to loader, transformer, publisher;
grant execute on function locks.holders(text, text) to loader, transformer, publisher;
-- No row is ever there to be updated: it is the privilege to lock.
grant update on locks.night, locks.opening to transformer;
grant update on locks.publish to transformer, publisher;
grant update on locks.build to loader, transformer;
grant select, insert, update on locks.named to loader;

-- ---------------------------------------------------------------------------------------------------------------------
-- Readers that are in the way
-- ---------------------------------------------------------------------------------------------------------------------
-- Whoever may publish is no reader; a superuser may.
create function readers.end_session(process integer) returns boolean
language plpgsql security definer set search_path = pg_catalog as $$
begin
    if pg_has_role((select usesysid from pg_stat_activity where pid = process), 'publisher', 'member') is distinct from false then
        return false;
    end if;
    return pg_terminate_backend(process);
exception when insufficient_privilege then
    return false;
end
$$;
comment on function readers.end_session(integer) is
    'Ends the session of a reader; false for one of the pipeline or a superuser, and where the owner of the database may not.';

create function readers.end_blockers(waiting integer) returns table (login text, ended boolean)
language plpgsql security definer set search_path = pg_catalog as $$
declare
    blocker integer;
begin
    foreach blocker in array pg_blocking_pids(waiting) loop
        login := (select usename from pg_stat_activity where pid = blocker);
        ended := readers.end_session(blocker);
        return next;
    end loop;
end
$$;
comment on function readers.end_blockers(integer) is 'Ends the sessions of readers that the process waits for.';

create function readers.end_overlong(seconds integer) returns table (login text, ended boolean)
language plpgsql security definer set search_path = pg_catalog as $$
declare
    found integer;
begin
    for found, login in
        select a.pid, a.usename from pg_stat_activity as a
        where a.datname = current_database() and a.xact_start < clock_timestamp() - make_interval(secs => seconds)
            and not pg_has_role(a.usesysid, 'publisher', 'member')
    loop
        ended := readers.end_session(found);
        return next;
    end loop;
end
$$;
comment on function readers.end_overlong(integer) is 'Ends the sessions of readers whose transaction lasts longer.';

revoke all on function readers.end_session(integer), readers.end_blockers(integer), readers.end_overlong(integer) from public;
grant execute on function readers.end_blockers(integer), readers.end_overlong(integer) to publisher;

-- ---------------------------------------------------------------------------------------------------------------------
-- ops: what is a record is added to and not taken back
-- ---------------------------------------------------------------------------------------------------------------------
-- A result tells in one line what was looked at, what was found and what was wanted; those of earlier nights do not.
alter table ops.expectation_result add column told text;
-- An audit that is run again adds its results; those of the last one count.
create view ops.audit_result as
select r.*
from ops.expectation_result as r
where r.recorded_at = (
    select max(l.recorded_at) from ops.expectation_result as l
    where l.build_id is not distinct from r.build_id and l.checkpoint = r.checkpoint
);
comment on view ops.audit_result is 'The results of the last audit of each build and checkpoint.';

-- What is past its time goes by this and no other way, and nothing that is younger than 35 days.
create function ops.forget(kind text, days integer, kept integer) returns bigint
language plpgsql security definer set search_path = pg_catalog as $$
declare
    before timestamptz := now() - make_interval(days => days);
    gone bigint;
begin
    if days < 35 then
        raise invalid_parameter_value using message = 'nothing is forgotten before 35 days';
    end if;
    case kind
        -- Visits since the last good one of a branch tell since when it fails.
        when 'attempts' then
            delete from ops.attempt a where a.finished_at < before and exists (
                select from ops.attempt later where later.branch_id = a.branch_id and later.attempt_id > a.attempt_id
                    and later.outcome in ('loaded', 'nothing_new'));
        when 'steps' then
            delete from ops.step where finished_at < before;
        -- dbt's last results of each layer are what the status shows.
        when 'dbt_results' then
            delete from ops.dbt_result where recorded_at < before and (layer, build_id) not in
                (select layer, max(build_id) from ops.dbt_result where build_id is not null group by layer);
        -- What a publication that can be taken back was audited by.
        when 'expectation_results' then
            delete from ops.expectation_result where recorded_at < before and build_id not in
                (select build_id from ops.publication order by publication_id desc limit forget.kept);
        when 'notifications' then
            delete from ops.notification where created_at < before;
    end case;
    get diagnostics gone = row_count;
    return gone;
end
$$;
comment on function ops.forget(text, integer, integer) is
    'Deletes rows of a kind that are older than so many days, but for what is still needed; returns how many.';
revoke all on function ops.forget(text, integer, integer) from public;
grant execute on function ops.forget(text, integer, integer) to loader;

revoke all on all tables in schema ops from loader, transformer, auditor, publisher;
grant select on all tables in schema ops to loader, transformer, auditor, publisher;

grant insert, update on ops.setting, ops.manifest to loader;
grant insert, update, delete on ops.branch to loader;
grant insert, update (as_of, outcome, finished_at, alert) on ops.run to loader;
grant insert, update (finished_at, load_seconds, slices, bytes, rows, outcome, reason, notes) on ops.attempt to loader;
grant insert, update (status, reason, detail, sent_at, loaded_at, manifest_sha256, manifest_rows, rows_sent,
    rows_accepted, rows_quarantined, warnings, rows_nik_valid, rows_contactable, file_name, file_format, bytes, sha256,
    landed_uri, drift, load_id, retry_load_ids, run_id, build_id) on ops.slice to loader;
grant insert, update (errors, warnings, fields, closed_at, closed_as, closed_why, load_id) on ops.quarantine to loader;
grant insert on ops.quarantine_event to loader;
grant insert, update (released_at, released_by, release_why, closed_as) on ops.hold to loader;
grant update (complete) on ops.built to loader;

grant insert, update (finished_at, outcome) on ops.step to transformer, auditor, publisher;

grant insert, update (outcome, finished_at, load_id) on ops.build to transformer;
grant update (build_id) on ops.slice to transformer;
grant insert on ops.dbt_result to transformer;
grant insert, update on ops.built to transformer;

grant insert on ops.expectation_result to auditor;
grant insert, update (sent_at, attempts, last_error) on ops.notification to auditor;

grant update (outcome, finished_at) on ops.run, ops.build to publisher;
grant insert, update (tables, kept) on ops.publication to publisher;
grant insert on ops.publication_table, ops.publication_diff to publisher;

revoke all on function audit.build_id(), audit.leniency(text), audit.code(text) from public;

-- Readers are told of the audit that counts.
set role publisher;
create or replace view bi.publication as
select
    p.publication_id, p.as_of, p.published_at, p.build_id, p.restores,
    (select t.rows from ops.publication_table t
     where t.publication_id = p.publication_id and t.table_name = 'publication_slice') as slices,
    (select count(*) from ops.audit_result r where r.build_id = p.build_id) as expectations,
    (select count(*) from ops.audit_result r where r.build_id = p.build_id and not r.success) as expectations_not_met
from ops.publication p
order by p.publication_id desc
limit 1;

create or replace view bi.publication_audit as
select
    p.publication_id, r.checkpoint, r.suite, r.severity,
    count(*) as expectations,
    count(*) filter (where not r.success) as not_met,
    max(r.recorded_at) as audited_at
from (select * from ops.publication order by publication_id desc limit 1) p
join ops.audit_result r using (build_id)
group by p.publication_id, r.checkpoint, r.suite, r.severity;
reset role;
