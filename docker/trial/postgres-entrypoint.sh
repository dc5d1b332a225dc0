#!/bin/bash
# The part of the entry point of the real image that the project relies on.
set -euo pipefail
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
  install -d -o postgres -g postgres -m 0700 "$PGDATA"
  chown postgres:postgres /var/lib/postgresql /var/lib/postgresql/18 /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "$BASH" "$0" "$@"
fi
export POSTGRES_USER=${POSTGRES_USER:-postgres}
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "${POSTGRES_PASSWORD:-}" ] || { echo "POSTGRES_PASSWORD is not set" >&2; exit 1; }
  # The options of initdb are one string, as the real image takes them.
  # shellcheck disable=SC2086
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 \
    --auth-local=trust ${POSTGRES_INITDB_ARGS:-}
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  printf "listen_addresses = '*'\n" >> "$PGDATA/postgresql.conf"
  options="-c listen_addresses=''"
  for argument in "${@:2}"; do options="$options $(printf '%q' "$argument")"; done
  pg_ctl -s -w -o "$options" start
  for script in /docker-entrypoint-initdb.d/*.sh; do
    [ -x "$script" ] && "$script"
  done
  pg_ctl -s -w -m fast stop
fi
unset PGPASSWORD
exec "$@"
