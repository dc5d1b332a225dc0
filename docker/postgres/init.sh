#!/bin/sh
# Runs once, when the data volume is empty: a login and a database each for the warehouse and for Airflow's metadata.
# The warehouse's login is no superuser: it makes the roles of the steps (CREATEROLE) and acts as them. The login of the
# branch board, in Airflow's web server, may act as role auditor alone, which docker/migrate.sh grants it.
set -eu
psql -v ON_ERROR_STOP=1 -v kkbc="$KKBC_DB_PASSWORD" -v board="$KKBC_BOARD_PASSWORD" \
  -v airflow="$AIRFLOW_DB_PASSWORD" -U "$POSTGRES_USER" -d postgres <<'SQL'
create role kkbc login createrole password :'kkbc';
create role kkbc_board login password :'board';
create role airflow login password :'airflow';
create database kkbc owner kkbc;
create database airflow owner airflow;
revoke connect on database airflow from public;
SQL
