#!/bin/sh
# In a container: the metadata, the bundle, then the server. Changes nothing when repeated.
set -eu
umask 077
printf '%s' "$KKBC_BI_ADMIN_PASSWORD" > /tmp/admin
python prepare.py --migrate --bundle /var/lib/kkbc/bi/kkbc.zip --admin-password-file /tmp/admin
rm /tmp/admin
unset KKBC_BI_ADMIN_PASSWORD
exec gunicorn 'superset.app:create_app()' --bind 0.0.0.0:8088 --workers 1 --worker-class gthread --threads 8 --timeout 120
