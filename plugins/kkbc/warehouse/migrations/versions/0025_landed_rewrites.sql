create table ops.landed_rewrite (
    rewrite_id bigint generated always as identity primary key,
    landed_uri text not null,
    file_name text not null,
    old_sha256 text not null,
    old_bytes bigint not null,
    new_sha256 text not null,
    new_bytes bigint not null,
    rows_erased integer not null,
    rewritten_at timestamptz not null default clock_timestamp(),
    erasure_id bigint
);
create index on ops.landed_rewrite (landed_uri, rewrite_id desc);
comment on table ops.landed_rewrite is
    'Landed files that were rewritten without persons, in the order in which that was done: their hashes before and after. By the newest of a folder the file is known; ops.slice keeps the hash of the file as sent.';
comment on column ops.landed_rewrite.landed_uri is 'The folder of the slice in landing, as in ops.slice.';
comment on column ops.landed_rewrite.file_name is 'Name of the file as reported.';
comment on column ops.landed_rewrite.rows_erased is 'Rows that became tombstones; 0 when the file could not be read as rows, and is an empty one since.';
comment on column ops.landed_rewrite.erasure_id is 'The erasure; null when the suppression list kept persons out of a file that came later.';

grant select on ops.landed_rewrite to auditor, publisher, transformer;
grant select, insert on ops.landed_rewrite to loader;
