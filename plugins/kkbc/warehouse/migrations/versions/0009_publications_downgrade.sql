-- Policies go with their function; a table of bi without its policies shows all of its rows to whom it is granted.
do $$
declare
    secured regclass;
begin
    for secured in select polrelid::regclass from pg_policy where polname like 'branches_%' loop
        execute format('revoke select on %s from branch_bi', secured);
    end loop;
    for secured in select c.oid::regclass from pg_class c where c.relnamespace = 'bi'::regnamespace and c.relrowsecurity loop
        execute format('alter table %s disable row level security', secured);
    end loop;
end
$$;
drop schema readers cascade;
drop view bi.publication_audit, bi.publication_table, bi.publication;
drop table if exists bi.publication_slice;
drop view ops.slices_built;
drop schema bi_kept cascade;
drop table ops.publication_diff, ops.publication_table;
delete from ops.publication where restores is not null;
drop index ops.publication_by_build;
alter table ops.publication drop column restores, drop column kept, drop column why, drop column done_by,
    drop column request;
