-- ---------------------------------------------------------------------------------------------------------------------
-- What is on record of a publication
-- ---------------------------------------------------------------------------------------------------------------------
alter table ops.publication
    add column kept boolean not null default false,
    add column restores bigint references ops.publication,
    add column why text,
    add column done_by text,
    add column request text unique,
    add check ((restores is null) = (why is null));
create index publication_by_build on ops.publication (build_id);
comment on table ops.publication is
    'What was published when: rows inserted and deleted by table. restores: the publication that was rolled back to, why, and by whom; request: the wish that it was done for, once. kept: what takes it back is still there.';

create table ops.publication_table (
    publication_id bigint not null references ops.publication,
    table_schema text not null,
    table_name text not null,
    rows bigint not null,
    deleted bigint not null,
    inserted bigint not null,
    digest numeric not null,
    changed_in bigint not null,
    primary key (publication_id, table_schema, table_name)
);
comment on table ops.publication_table is
    'What each published table held after each publication: its rows and the sum of their hashes, rows deleted and inserted, and the publication that changed it last.';

create table ops.publication_diff (
    publication_id bigint not null references ops.publication,
    branch_id text not null,
    month date not null,
    metric text not null,
    before numeric,
    after numeric,
    primary key (publication_id, branch_id, month, metric)
);
comment on table ops.publication_diff is
    'Totals per branch and month that a publication changed, as readers saw them before and after it. Stocks are those of the last day of the month.';

-- The slices that the newest build was made of: of each place the revision that was in force when it was opened.
create view ops.slices_built as
select distinct on (feed, branch_id, business_date)
    feed, branch_id, business_date, revision, rows_accepted, rows_quarantined
from ops.slice
where
    build_id is not null
    and status in ('loaded', 'superseded')
    and business_date <= (select b.as_of from ops.build b order by b.build_id desc limit 1)
order by feed, branch_id, business_date, revision desc;
comment on view ops.slices_built is 'The slices that the published figures were made from.';

grant select on ops.publication_table, ops.publication_diff to loader, transformer, auditor, publisher;
grant insert on ops.publication_table, ops.publication_diff to publisher;
grant select on ops.slices_built to publisher, auditor;

-- Totals before a rollback wait in a temporary table for those after it.
do $$
begin
    execute format('grant temporary on database %I to publisher', current_database());
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- bi_kept: what takes publications back
-- ---------------------------------------------------------------------------------------------------------------------
create schema bi_kept authorization publisher;
set role publisher;
create table bi_kept.difference (
    difference_id bigint generated always as identity primary key,
    publication_id bigint not null,
    table_schema text not null,
    table_name text not null,
    kind text not null check (kind in ('rows', 'shape', 'created', 'retired')),
    primary_key text[] not null
);
comment on table bi_kept.difference is
    'What a publication keeps of a table: d<number>_gone, rows that it took out; d<number>_came, keys of rows that it put in; d<number>_whole, the table that it replaced or ended.';
create index on bi_kept.difference (publication_id);

-- ---------------------------------------------------------------------------------------------------------------------
-- What is live, as readers may ask
-- ---------------------------------------------------------------------------------------------------------------------
drop table if exists bi.publication;
create view bi.publication as
select
    p.publication_id, p.as_of, p.published_at, p.build_id, p.restores,
    (select t.rows from ops.publication_table t
     where t.publication_id = p.publication_id and t.table_name = 'publication_slice') as slices,
    (select count(*) from ops.expectation_result r where r.build_id = p.build_id) as expectations,
    (select count(*) from ops.expectation_result r where r.build_id = p.build_id and not r.success) as expectations_not_met
from ops.publication p
order by p.publication_id desc
limit 1;
comment on view bi.publication is
    'What is live: one row. restores: the publication that it went back to; slices: how many it was made from, see publication_slice; expectations: how many audited it, see publication_audit.';

create view bi.publication_table as
select t.table_schema, t.table_name, t.publication_id, t.rows, t.changed_in, p.as_of, p.published_at
from ops.publication_table t
join ops.publication p using (publication_id)
where t.publication_id = (select max(publication_id) from ops.publication);
comment on view bi.publication_table is
    'Every published table with the publication that its rows are of, how many they are, and the publication that changed them last.';

create view bi.publication_audit as
select
    p.publication_id, r.checkpoint, r.suite, r.severity,
    count(*) as expectations,
    count(*) filter (where not r.success) as not_met,
    max(r.recorded_at) as audited_at
from (select * from ops.publication order by publication_id desc limit 1) p
join ops.expectation_result r using (build_id)
group by p.publication_id, r.checkpoint, r.suite, r.severity;
comment on view bi.publication_audit is 'The results that audited what is live, by suite and severity.';

grant select on bi.publication, bi.publication_table, bi.publication_audit to bi, analyst, auditor, branch_bi;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- readers: which branches a reader of role branch_bi sees. Nobody but the owner writes here.
-- ---------------------------------------------------------------------------------------------------------------------
do $$
begin
    create role bi_gateway nologin;
exception when duplicate_object or unique_violation then null;
end
$$;

create schema readers;
create table readers.branch_reader (
    reader text not null check (reader <> ''),
    branch_id text not null,
    granted_at timestamptz not null default now(),
    granted_by text not null,
    revoked_at timestamptz,
    revoked_by text,
    check ((revoked_at is null) = (revoked_by is null))
);
create unique index branch_reader_in_force on readers.branch_reader (reader, branch_id) where revoked_at is null;
comment on table readers.branch_reader is
    'Who sees the rows of which branch: a login of its own in role branch_bi, or a name that a member of role bi_gateway gives. Rows stay when they are revoked.';

-- The login tells who it is; only the login of a gateway may say for whom it asks. SET ROLE changes neither.
create function readers.branches() returns text[]
language sql stable security definer set search_path = pg_catalog as $$
    select coalesce(array_agg(m.branch_id), '{}')
    from readers.branch_reader m
    where m.revoked_at is null
        and m.reader = case
            when pg_has_role(session_user, 'bi_gateway', 'member') then nullif(current_setting('app.bi_user', true), '')
            else session_user
        end
$$;
comment on function readers.branches() is 'The branches whose rows the reader of this session sees.';
revoke all on function readers.branches() from public;
grant usage on schema readers to branch_bi, publisher, auditor;
grant execute on function readers.branches() to branch_bi;
grant select on readers.branch_reader to auditor;
