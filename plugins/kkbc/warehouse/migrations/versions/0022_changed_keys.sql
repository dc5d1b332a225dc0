alter table ops.publication_table add column pair text;
comment on column ops.publication_table.pair is
    'Which hidden and which published table this publication left equal, while triggers note what changes in the hidden one; null where the next publication has to compare them whole.';

set role publisher;
create table bi_kept.changed_key (source oid not null, key jsonb not null);
comment on table bi_kept.changed_key is
    'Keys of rows that came, went or changed in a hidden table, its oid in source, since the last publication, which empties this.';
reset role;

-- Whoever changes a hidden table needs no right to the table of keys.
create function ops.note_changed_keys() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
    note constant text := 'insert into bi_kept.changed_key (source, key) select $1, to_jsonb(k) from (select %s from %I) as k';
begin
    if tg_op <> 'INSERT' then
        execute format(note, tg_argv[0], 'gone') using tg_relid;
    end if;
    if tg_op <> 'DELETE' then
        execute format(note, tg_argv[0], 'came') using tg_relid;
    end if;
    return null;
end
$$;
comment on function ops.note_changed_keys() is
    'Trigger: notes the keys of the rows that a statement put into a hidden table, took out or changed; the argument lists the columns of the key.';

create function ops.follow_changes(hidden regclass, key text[]) returns void
language plpgsql strict security definer set search_path = pg_catalog as $$
declare
    columns constant text := (select string_agg(quote_ident(c), ', ' order by n) from unnest(key) with ordinality as k (c, n));
    event text;
begin
    if not exists (select from pg_class where oid = hidden and relnamespace = 'next'::regnamespace and relkind = 'r') then
        return;
    end if;
    if 3 = (
        select count(*) from pg_trigger
        where tgrelid = hidden and tgfoid = 'ops.note_changed_keys'::regproc
            and tgargs = convert_to(columns, 'UTF8') || '\x00'::bytea
    ) then
        return;
    end if;
    foreach event in array array['insert', 'update', 'delete'] loop
        execute format('drop trigger if exists %I on %s', 'keys_noted_on_' || event, hidden);
        execute format(
            'create trigger %I after %s on %s referencing %s for each statement execute function ops.note_changed_keys(%L)',
            'keys_noted_on_' || event, event, hidden,
            concat_ws(
                ' ',
                case when event <> 'insert' then 'old table as gone' end,
                case when event <> 'delete' then 'new table as came' end
            ),
            columns
        );
    end loop;
end
$$;
comment on function ops.follow_changes(regclass, text[]) is
    'Has triggers note the keys of what changes from now on in a table of schema next; nothing happens where they do.';

revoke all on function ops.note_changed_keys(), ops.follow_changes(regclass, text[]) from public;
grant execute on function ops.follow_changes(regclass, text[]) to publisher;
