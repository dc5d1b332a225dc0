# Stands in for redis:7-bookworm, of Debian's Redis 7.0.
FROM debian:bookworm-slim
RUN groupadd -r -g 999 redis && useradd -r -g redis -u 999 redis \
 && apt-get update \
 && apt-get install -y --no-install-recommends redis-server redis-tools \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o redis -g redis /data
LABEL kkbc.base=stand-in
VOLUME /data
WORKDIR /data
CMD ["redis-server"]
