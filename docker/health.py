"""Whether the part of Airflow in this container is alive: its latest heartbeat in Airflow's metadata.

    python health.py DagProcessorJob

`airflow jobs check` says the same, and starts all of Airflow for it, every minute in every container.
"""

import os
import socket
import sys

import psycopg

MOST_SECONDS = 60


def main() -> None:
    """Exit status 1 when the job has no recent heartbeat."""
    conninfo = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg", "", 1)
    with psycopg.connect(conninfo, connect_timeout=10) as conn:
        row = conn.execute(
            "select extract(epoch from now() - max(latest_heartbeat)) from job"
            " where job_type = %s and state = 'running' and hostname = any(%s)",
            [sys.argv[1], [socket.gethostname(), socket.getfqdn()]],
        ).fetchone()
    age = row[0] if row else None
    if age is None or age > MOST_SECONDS:
        sys.exit(f"{sys.argv[1]}: {'no heartbeat' if age is None else f'the last heartbeat is {age:.0f} s old'}")


if __name__ == "__main__":
    main()
