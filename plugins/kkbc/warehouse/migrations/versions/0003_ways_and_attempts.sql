alter table ops.run add column ways jsonb not null default '{}';
comment on column ops.run.ways is
    'Ways of delivering that this run uses instead of the registry''s: {branch_id or *: kind[:connection]}.';
alter table ops.run add column alert text;
comment on column ops.run.alert is 'The roll-up that the operator was told after the pulls; null when all went well.';

-- An attempt is on record from its first moment, so that one that was killed leaves its row too.
alter table ops.attempt alter column finished_at drop not null;
alter table ops.attempt drop constraint attempt_outcome_check;
alter table ops.attempt add constraint attempt_outcome_check
    check (outcome in ('running', 'loaded', 'nothing_new', 'failed', 'killed'));
alter table ops.attempt add constraint attempt_finished_check check ((finished_at is null) = (outcome = 'running'));
create index on ops.attempt (run_id);

alter table ops.manifest add column checked_at timestamptz not null default now();
comment on column ops.manifest.checked_at is
    'When the branch was last asked for it: ways that must ask day by day leave settled days alone for a while.';
