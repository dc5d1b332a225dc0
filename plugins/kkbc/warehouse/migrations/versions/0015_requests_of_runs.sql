-- Roles that write ops.run and ops.build insert whole rows; none changes what a run was asked for.
alter table ops.run
    add column branch_ids text[] not null default '{}',
    add column first_business_date date,
    add column gate text check (gate in ('fail', 'warn')),
    add column full_refresh boolean not null default false,
    add column reread_since date,
    add column reread_until date,
    add column requested_by text,
    add column notes text[] not null default '{}',
    add constraint run_reread_check check ((reread_since is null) = (reread_until is null));
comment on table ops.run is 'One row a run of the pipeline: what was asked of it, and what came of it.';
comment on column ops.run.as_of is 'Business date up to which it pulls and builds.';
comment on column ops.run.source_root is 'Folder with the deliveries of branches of kind file.';
comment on column ops.run.branch_ids is 'The only branches that it visits; empty: all.';
comment on column ops.run.first_business_date is 'First day of the daily marts; null: as kept in ops.setting.';
comment on column ops.run.gate is 'What a failed audit does; null: as the setting is when the audit runs.';
comment on column ops.run.full_refresh is 'All marts are made anew, instead of what the new slices touch.';
comment on column ops.run.reread_since is
    'First of the business dates that are read again from landing; null: the branches are visited.';
comment on column ops.run.reread_until is 'Last of the business dates that are read again from landing.';
comment on column ops.run.requested_by is 'Who asked for the re-read, as noted with rows whose verdict changes.';
comment on column ops.run.notes is 'What was odd when it was opened: folders that no registry entry claims.';

alter table ops.build add column gate text check (gate in ('fail', 'warn'));
comment on column ops.build.gate is 'The gate that was asked for this build alone; null: that of its run.';

-- A full refresh is asked for by a run; the loader no longer notes it here.
revoke update (complete) on ops.built from loader;
