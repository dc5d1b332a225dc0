-- A build looks up all rows of the keys that the night's slices touch.
create index registrations_by_key on raw.registrations (_branch_id, registration_no);
create index contributions_by_key on raw.contributions (_branch_id, payment_id);

create table ops.built (
    single boolean primary key default true check (single),
    complete boolean not null,
    as_of date not null,
    first_business_date date not null,
    project text not null,
    registry text not null,
    build_id bigint references ops.build,
    built_at timestamptz not null default clock_timestamp()
);
comment on table ops.built is
    'What the marts in schema next stand at, one row: the next build goes on from there, or makes all anew. complete: no build broke off since; project, registry: digests of what they were built with.';
grant select on ops.built to loader, transformer, auditor, publisher;
grant insert, update on ops.built to transformer;
-- Whoever opens a run may ask for everything anew.
grant update (complete) on ops.built to loader;

-- No model any more.
drop table if exists next.int_stock_changes_counted;

-- Rows are computed in a temporary table before they replace others.
do $$
begin
    execute format('grant temporary on database %I to transformer', current_database());
end
$$;
