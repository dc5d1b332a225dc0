#!/bin/sh
# Runs once, when the data volume is empty: a login and a database each for the warehouse and for Airflow's metadata.
# The warehouse's login is no superuser: it makes the roles of the steps (CREATEROLE) and acts as them. The login of the
# branch board, in Airflow's web server, may act as role auditor alone, which docker/migrate.sh grants it, as it grants
# Superset's gateway its roles; Superset's metadata are a database with a login of their own. What only a
# superuser may take from readers is taken here; `kkbc reader limits` names what is left on a server of before.
set -eu
psql -v ON_ERROR_STOP=1 -v kkbc="$KKBC_DB_PASSWORD" -v board="$KKBC_BOARD_PASSWORD" \
  -v superset="$KKBC_BI_DB_PASSWORD" -v gateway="$KKBC_BI_GATEWAY_PASSWORD" -v airflow="$AIRFLOW_DB_PASSWORD" -U "$POSTGRES_USER" -d postgres <<'SQL'
create role kkbc login createrole password :'kkbc';
create role kkbc_board login password :'board';
create role airflow login password :'airflow';
create role superset login password :'superset';
create role superset_gateway login password :'gateway';
create database kkbc owner kkbc;
create database airflow owner airflow;
create database superset owner superset;
grant pg_signal_backend, pg_read_all_stats, pg_use_reserved_connections to kkbc;
grant pg_use_reserved_connections to kkbc_board, airflow;
grant set on parameter temp_file_limit to kkbc;
revoke connect, temporary on database postgres, template1, airflow, superset from public;
\c kkbc
grant usage on language plpgsql to kkbc;
revoke usage on language plpgsql from public;
create schema statements authorization kkbc;
create extension pg_stat_statements schema statements;
grant execute on function statements.pg_stat_statements_reset(oid, oid, bigint, boolean) to kkbc;
select format('revoke execute on function pg_catalog.%s from public', oid::regprocedure) from pg_proc
where pronamespace = 'pg_catalog'::regnamespace
  and proname ~ '^(pg_(try_)?advisory_.*|lo_.*|loread|lowrite|pg_notify|pg_logical_emit_message)$'
\gexec
SQL
