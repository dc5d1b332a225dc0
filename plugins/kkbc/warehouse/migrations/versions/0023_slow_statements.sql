-- Closed to everybody but the owner: the extension lets everyone read its views, and who may read all statements would
-- see those that PostgreSQL does not normalise, like `alter user ... password`.
create schema if not exists statements;
comment on schema statements is
    'pg_stat_statements, where the server has it. Read through ops.slow_statements only.';

create function ops.statement_schema() returns text
language sql stable set search_path = pg_catalog as $$
    select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'pg_stat_statements'
$$;
comment on function ops.statement_schema() is
    'Schema of the extension pg_stat_statements, which an administrator may have made elsewhere; null without it.';
revoke all on function ops.statement_schema() from public;

create function ops.without_literals(statement text) returns text
language sql immutable strict parallel safe set search_path = pg_catalog as $$
    select btrim(regexp_replace(
        regexp_replace(
            -- One pass for all that may hold a quote: comments go, quoted names stay, and of a string its first quote.
            -- A string that is cut off ends with the text, and from a dollar quote on nothing stays.
            regexp_replace(
                statement,
                '/\*([^*]|\*+[^*/])*\*+/|--[^\n]*|("[^"]*")|\m[eE]('')([^''\\]|\\.|'''')*(''|$)|('')([^'']|'''')*(''|$)|\$\w*\$.*',
                '\2\3\6', 'g'
            ),
            '''|\$?\m\d[\w.]*', '?', 'g'
        ),
        '\s+', ' ', 'g'
    ))
$$;
comment on function ops.without_literals(text) is
    'A statement without comments, with ? for each string, number and parameter: no value, no password.';
revoke all on function ops.without_literals(text) from public;

create function ops.slow_statements(most integer)
returns table (
    role text, model text, calls bigint, total_seconds double precision, mean_seconds double precision, rows bigint,
    since timestamptz, statement text
)
language plpgsql stable strict security definer set search_path = pg_catalog as $$
begin
    if ops.statement_schema() is null then
        raise object_not_in_prerequisite_state using message = 'the database does not have pg_stat_statements';
    end if;
    return query execute format(
        $query$
        select r.rolname::text,
            -- PostgreSQL drops the comment in which dbt names its model, so that the first table of `next` does.
            case r.rolname when 'transformer' then
                substring(s.query from '(?:"next"\."|temporary table\s+")(\w+?)(?:__dbt_\w+)?"')
            end,
            s.calls,
            s.total_exec_time / 1000, s.mean_exec_time / 1000, s.rows,
            -- Since PostgreSQL 17 each statement has its own beginning.
            min(coalesce((to_jsonb(s) ->> 'stats_since')::timestamptz, i.stats_reset)) over (),
            left(ops.without_literals(left(s.query, 10000)), 500)
        from %1$s.pg_stat_statements s
        join pg_roles r on r.oid = s.userid
        cross join %1$s.pg_stat_statements_info i
        where s.dbid = (select oid from pg_database where datname = current_database())
        order by s.total_exec_time desc limit $1
        $query$,
        ops.statement_schema()
    ) using most;
end
$$;
comment on function ops.slow_statements(integer) is
    'The statements of this database that took the most time since ops.reset_statements() or `since`, masked. Raises object_not_in_prerequisite_state where the server does not count.';
revoke all on function ops.slow_statements(integer) from public;
grant execute on function ops.slow_statements(integer) to auditor;

create function ops.reset_statements() returns boolean
language plpgsql security definer set search_path = pg_catalog as $$
begin
    execute format(
        'select %s.pg_stat_statements_reset(0, (select oid from pg_database where datname = current_database()), 0)',
        ops.statement_schema()
    );
    return true;
exception when others then
    -- Not there, not loaded, or not granted to the owner: the statistics then go on from their own beginning.
    return false;
end
$$;
comment on function ops.reset_statements() is
    'Forgets the statistics of this database''s statements: those of a night begin with it. False where that cannot be.';
revoke all on function ops.reset_statements() from public;
grant execute on function ops.reset_statements() to loader;
