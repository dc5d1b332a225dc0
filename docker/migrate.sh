#!/bin/sh
# One shot before everything else starts: both schemas, the pool, the first user. Changes nothing when repeated.
set -eu
airflow db migrate
kkbc migrate
python -c 'from kkbc.warehouse import connect; connect(autocommit=True).execute("grant auditor to kkbc_board")'
python -c 'from kkbc.warehouse import connect; connect(autocommit=True).execute("grant branch_bi, bi_gateway to superset_gateway")'
kkbc bi bundle /var/lib/kkbc/bi/kkbc.zip
# With what the gateway proves for whom it asks; Superset's container runs as the same user and reads the volume alone.
cp plugins/kkbc/core/bi_tickets.py /var/lib/kkbc/bi/
(umask 077; kkbc reader key > /var/lib/kkbc/bi/gateway.key)
airflow pools set branch_pulls 8 "Branches pulled at once"
airflow users create --role Admin --username admin --password "$AIRFLOW_ADMIN_PASSWORD" \
  --firstname KKBC --lastname Admin --email admin@kkbc.invalid
