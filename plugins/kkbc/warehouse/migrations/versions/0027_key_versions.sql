-- What a change of keys works with. Nobody but the owner can read or write it, for it names two tokens of one person.
create table vault.new_token (old_token text primary key, new_token text not null);
comment on table vault.new_token is
    'While the key of the tokens is changed: the token that takes the place of each. Empty at all other times.';

create table vault.tokens_replaced_in (transaction xid8 not null);
comment on table vault.tokens_replaced_in is
    'The transaction that replaces tokens: what it does to hidden and published tables alike is not noted as a difference between them.';

create or replace function ops.note_changed_keys() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
    note constant text := 'insert into bi_kept.changed_key (source, key) select $1, to_jsonb(k) from (select %s from %I) as k';
begin
    if exists (select from vault.tokens_replaced_in where transaction = pg_current_xact_id()) then
        return null;
    end if;
    if tg_op <> 'INSERT' then
        execute format(note, tg_argv[0], 'gone') using tg_relid;
    end if;
    if tg_op <> 'DELETE' then
        execute format(note, tg_argv[0], 'came') using tg_relid;
    end if;
    return null;
end
$$;

create function ops.token_columns() returns table (relation regclass, name text)
language sql stable set search_path = pg_catalog as $$
    select a.attrelid::regclass, a.attname::text
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where a.attname in ('participant_token', 'participant_before') and not a.attisdropped
        and c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
        and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
    -- In the order in which loads, builds and publications write them.
    order by array_position(array['vault', 'raw', 'next', 'bi_detail', 'bi_kept'], n.nspname::text), c.relname, a.attname
$$;
comment on function ops.token_columns() is 'Where tokens of participants are stored: tables with their columns.';
revoke all on function ops.token_columns() from public;

create function ops.publication_digests()
returns table (publication_id bigint, table_schema text, table_name text, digest numeric)
language plpgsql set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres' set extra_float_digits = '1' as $$
#variable_conflict use_column
declare
    published record;
    done record;
    difference record;
    current numeric;
    taken numeric;
    live regclass;
    key text;
    columns text;
begin
    drop table if exists pg_temp.row_before;
    create temporary table row_before (difference_id bigint, key jsonb, hash bigint) on commit drop;
    create index on pg_temp.row_before (key, difference_id);
    for published in
        select distinct p.table_schema, p.table_name from ops.publication_table p
        where p.table_schema = 'bi_detail' order by 1, 2
    loop
        truncate pg_temp.row_before;
        live := to_regclass(format('%I.%I', published.table_schema, published.table_name));
        current := null;
        if live is not null then
            execute format('select coalesce(sum(hashtextextended(t::text, 0)), 0) from %s t', live) into current;
        end if;
        -- The newest first, down to the one before the last that is kept: its differences lead back to that.
        for done in
            select p.publication_id, p.kept from ops.publication p
            where p.publication_id >= coalesce((select max(b.publication_id) from ops.publication b
                where b.publication_id < (select min(k.publication_id) from ops.publication k where k.kept)), 0)
            order by p.publication_id desc
        loop
            if current is not null then
                publication_id := done.publication_id;
                table_schema := published.table_schema;
                table_name := published.table_name;
                digest := current;
                return next;
            end if;
            for difference in
                select d.difference_id, d.kind, d.primary_key from bi_kept.difference d
                where d.publication_id = done.publication_id and d.table_schema = published.table_schema
                    and d.table_name = published.table_name
                order by d.difference_id desc
            loop
                if difference.kind = 'created' then
                    current := null;
                    continue;
                elsif difference.kind in ('shape', 'retired') then
                    execute format('select coalesce(sum(hashtextextended(r::text, 0)), 0) from bi_kept.%I r',
                        'd' || difference.difference_id || '_whole') into current;
                else
                    columns := (select string_agg(quote_ident(k), ', ') from unnest(difference.primary_key) k
                        having bool_and(exists (select from pg_attribute a
                            where a.attrelid = live and a.attname = k and not a.attisdropped)));
                    -- A row that came is as it was when it went again, or as it is.
                    execute format(
                        'select coalesce(sum(coalesce((select b.hash from pg_temp.row_before b where b.key = to_jsonb(c)'
                        ' and b.difference_id > %s order by b.difference_id limit 1), %s)), 0) from bi_kept.%I c %s',
                        difference.difference_id,
                        case when columns is null then 'null::bigint' else 'hashtextextended(t::text, 0)' end,
                        'd' || difference.difference_id || '_came',
                        case when columns is not null then format('left join %s t using (%s)', live, columns) end
                    ) into taken;
                    current := current - taken;
                    execute format('select coalesce(sum(hashtextextended(r::text, 0)), 0) from bi_kept.%I r',
                        'd' || difference.difference_id || '_gone') into taken;
                    current := current + taken;
                end if;
                key := (select string_agg(format('%L, r.%I', k, k), ', ') from unnest(difference.primary_key) k);
                execute format(
                    'insert into pg_temp.row_before select %s, jsonb_build_object(%s), hashtextextended(r::text, 0) from bi_kept.%I r',
                    difference.difference_id, key,
                    'd' || difference.difference_id || case when difference.kind = 'rows' then '_gone' else '_whole' end
                );
            end loop;
        end loop;
    end loop;
    drop table pg_temp.row_before;
end
$$;
comment on function ops.publication_digests() is
    'The digest of each table of bi_detail as of every publication that can be restored, from the rows and differences that are there. ops.publication_table has those that were recorded.';
revoke all on function ops.publication_digests() from public;

-- The tokens that are there become those of version 01, in place, so that no figure and no join changes.
insert into ops.setting (name, value)
select 'pii_key_version', '01' from ops.setting where name = 'pii_key_fingerprint';
insert into vault.tokens_replaced_in values (pg_current_xact_id());
create temporary table digest_before on commit drop as select * from ops.publication_digests();
do $$
declare
    found record;
begin
    for found in select relation, name from ops.token_columns() loop
        execute format(
            'update %1$s set %2$I = ''01'' || substr(%2$I, 3) where %2$I ~ ''^[0-9a-f]{32}$'' and not starts_with(%2$I, ''01'')',
            found.relation, found.name
        );
    end loop;
end
$$;
update bi_kept.changed_key
set key = jsonb_set(key, '{participant_token}', to_jsonb('01' || substr(key ->> 'participant_token', 3)))
where key ->> 'participant_token' ~ '^[0-9a-f]{32}$';
create temporary table digest_change on commit drop as
select a.publication_id, a.table_schema, a.table_name, a.digest - b.digest as change
from ops.publication_digests() a join pg_temp.digest_before b using (publication_id, table_schema, table_name);
update ops.publication_table p set digest = p.digest + c.change
from (
    select publication_id, table_schema, table_name, change from pg_temp.digest_change
    union
    -- One that is no longer kept can be restored where a rollback that is kept restored it.
    select r.restores, c.table_schema, c.table_name, c.change
    from pg_temp.digest_change c join ops.publication r using (publication_id)
    where r.restores is not null
        and not exists (select from pg_temp.digest_change o where o.publication_id = r.restores)
) c
where (p.publication_id, p.table_schema, p.table_name) = (c.publication_id, c.table_schema, c.table_name);
set constraints all immediate;
delete from vault.tokens_replaced_in;
drop table pg_temp.digest_before, pg_temp.digest_change;
