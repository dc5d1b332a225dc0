#!/bin/sh
# One shot before everything else starts: both schemas, the pool, the first user. Changes nothing when repeated.
set -eu
airflow db migrate
kkbc migrate
airflow pools set branch_pulls 8 "Branches pulled at once"
airflow users create --role Admin --username admin --password "$AIRFLOW_ADMIN_PASSWORD" \
  --firstname KKBC --lastname Admin --email admin@kkbc.invalid
