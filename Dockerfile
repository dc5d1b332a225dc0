# `pipeline` is the image of everything of the project that runs in a container: Airflow's five parts, the migration, the
# docs. `spark` is the same with Java and Spark: the parts of a cluster, and workers that build on it.
FROM python:3.11-slim-bookworm AS tools
ARG UV_VERSION=0.13.9
RUN pip install --no-cache-dir uv==${UV_VERSION}

FROM tools AS environment
# requirements.lock with, on the same versions, what only containers need; every file is checked against its hash.
COPY docker/requirements.lock /tmp/requirements.lock
RUN uv venv /opt/venv \
 && uv pip sync --no-cache --python /opt/venv/bin/python --require-hashes /tmp/requirements.lock
COPY pyproject.toml /opt/kkbc/
COPY plugins /opt/kkbc/plugins
RUN uv pip install --no-cache --python /opt/venv/bin/python --no-deps --no-build-isolation -e /opt/kkbc

FROM tools AS spark-environment
COPY spark/requirements.lock /tmp/requirements.lock
# Linked, because the version of Python is part of the path of what is installed.
RUN uv venv /opt/spark-environment \
 && uv pip sync --no-cache --python /opt/spark-environment/bin/python --require-hashes /tmp/requirements.lock \
 && ln -s /opt/spark-environment/lib/python3*/site-packages/pyspark /opt/spark-environment/spark

FROM python:3.11-slim-bookworm AS pipeline
RUN groupadd --gid 10001 kkbc \
 && useradd --uid 10001 --gid kkbc --create-home kkbc \
 && install -d -o kkbc -g kkbc -m 0700 /var/lib/kkbc /var/lib/kkbc/landing /var/lib/kkbc/keys /var/lib/kkbc/reports /var/lib/kkbc/gx /var/lib/kkbc/docs /var/lib/kkbc/spark \
 && install -d -o kkbc -g kkbc -m 0755 /var/lib/kkbc/bi \
 && install -d -o kkbc -g kkbc -m 0700 /var/backups/kkbc \
 && install -d -o kkbc -g kkbc -m 0750 /var/lib/airflow /var/lib/airflow/logs
COPY --from=environment /opt/venv /opt/venv
COPY --from=environment /opt/kkbc /opt/kkbc
COPY bi/superset/bundle /opt/kkbc/bi/superset/bundle
COPY config /opt/kkbc/config
COPY contracts /opt/kkbc/contracts
COPY dags /opt/kkbc/dags
COPY dbt_project /opt/kkbc/dbt_project
COPY expectations /opt/kkbc/expectations
COPY docs /opt/kkbc/docs
COPY README.md /opt/kkbc/
COPY docker/migrate.sh /opt/kkbc/docker/
COPY docker/health.py docker/backup_metadata.py /opt/kkbc/docker/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AIRFLOW_HOME=/var/lib/airflow \
    KKBC_HOME=/var/lib/kkbc \
    GX_ANALYTICS_ENABLED=false \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    DO_NOT_TRACK=1
USER kkbc
WORKDIR /opt/kkbc
CMD ["airflow", "version"]

FROM pipeline AS spark
USER root
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
COPY --from=spark-environment /opt/spark-environment /opt/spark-environment
COPY spark/build.py spark/spark-defaults.conf spark/log4j2.properties /opt/kkbc/spark/
COPY docker/spark.py /opt/kkbc/docker/
ENV SPARK_HOME=/opt/spark-environment/spark \
    KKBC_SPARK_ENVIRONMENT=/opt/spark-environment
USER kkbc
