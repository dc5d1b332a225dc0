set role publisher;
create or replace view bi.publication as
select
    p.publication_id, p.as_of, p.published_at, p.build_id, p.restores,
    (select t.rows from ops.publication_table t
     where t.publication_id = p.publication_id and t.table_name = 'publication_slice') as slices,
    (select count(*) from ops.expectation_result r where r.build_id = p.build_id) as expectations,
    (select count(*) from ops.expectation_result r where r.build_id = p.build_id and not r.success) as expectations_not_met
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
join ops.expectation_result r using (build_id)
group by p.publication_id, r.checkpoint, r.suite, r.severity;
reset role;

-- What an earlier program takes for the results of one audit.
delete from ops.expectation_result where (build_id, checkpoint, recorded_at) in (
    select build_id, checkpoint, recorded_at from ops.expectation_result
    except
    select build_id, checkpoint, recorded_at from ops.audit_result
);
drop view ops.audit_result;
alter table ops.expectation_result drop column told;

revoke all on all tables in schema ops from loader, transformer, auditor, publisher;
grant select on all tables in schema ops to loader, transformer, auditor, publisher;
revoke select on ops.slices_built from loader, transformer;
grant insert, update, delete on ops.setting, ops.branch, ops.run, ops.step, ops.attempt, ops.slice,
    ops.manifest, ops.quarantine to loader;
grant insert on ops.quarantine_event to loader;
grant insert, update on ops.hold to loader;
grant update (complete) on ops.built to loader;
grant delete on ops.notification, ops.dbt_result, ops.expectation_result to loader;
grant insert, update on ops.run, ops.step, ops.build, ops.dbt_result, ops.built to transformer;
grant update (build_id) on ops.slice to transformer;
grant insert, update on ops.step, ops.expectation_result, ops.notification to auditor;
grant delete on ops.expectation_result to auditor;
grant insert, update on ops.run, ops.step, ops.build, ops.publication to publisher;
grant insert on ops.publication_table, ops.publication_diff to publisher;
grant execute on function audit.build_id(), audit.leniency(text), audit.code(text) to public;

drop function ops.forget(text, integer, integer);
drop function readers.end_overlong(integer);
drop function readers.end_blockers(integer);
drop function readers.end_session(integer);
drop function locks.holders(text, text);
drop table locks.night, locks.opening, locks.publish, locks.build, locks.partitions, locks.named;
