create table ops.notification (
    notification_id bigint generated always as identity primary key,
    business_date date not null,
    kind text not null check (kind in ('night', 'recovered', 'deadline')),
    channel text not null,
    published boolean not null,
    subject text not null,
    body text not null,
    facts jsonb not null,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    attempts integer not null default 0,
    last_error text,
    unique (business_date, kind, channel)
);
comment on table ops.notification is
    'Messages to the operators, one a night, kind and channel, without personal data. sent_at: null until the channel took it.';
comment on column ops.notification.kind is
    'night: what came of a night; recovered: a night that was told as not published is published; deadline: nothing was published by 05:00.';
create index notification_unsent on ops.notification (created_at) where sent_at is null;

grant select on ops.notification to loader, transformer, auditor, publisher;
-- Who composes and sends sees everything but persons, as the auditor does.
grant insert, update on ops.notification to auditor;

-- Retention is done by the role that may delete the rest of what is known of nights.
grant delete on ops.notification, ops.dbt_result, ops.expectation_result to loader;

-- A slice that is read again replaces its rows whole; what that made of its quarantine is told apart from a retry.
alter table ops.quarantine_event drop constraint quarantine_event_event_check;
alter table ops.quarantine_event add constraint quarantine_event_event_check
    check (event in ('accepted', 'judged_anew', 'beaten', 'resolved', 'found'));
comment on table ops.quarantine_event is
    'What became of quarantined rows by hand, by retry or by reading a slice again. accepted: passed and was loaded; judged_anew: still bad, with other codes, or bad again; beaten: an accepted row that lost its key to a retried one; found: an accepted row that is bad by the rules of a re-read; resolved: needs no more work.';
