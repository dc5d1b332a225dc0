# Stands in for python:3.11-slim-bookworm, of Debian's own Python 3.11.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates netbase tzdata python3 python3-venv python3-pip \
 && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED \
 && ln -s /usr/bin/python3 /usr/local/bin/python
LABEL kkbc.base=stand-in
CMD ["python3"]
