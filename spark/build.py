"""One build by Spark, run by kkbc.marts.spark in Spark's environment: names the exported tables, then runs dbt.

Usage: build.py REQUEST.json, with `host`, `port`, `warehouse` (folder), `tables` (name: folder), `fresh` (whether what
was built goes first), and `arguments` of dbt. What dbt did is in the run_results.json of its target folder. Exit status
3: Spark was not reached or ended meanwhile; the last line of stderr says why.
"""

import json
import shutil
import sys
from pathlib import Path

from dbt.cli.main import dbtRunner
from pyhive import hive

SCHEMAS = ("next", "staging", "raw", "ops")


def declare(request: dict) -> None:
    """Makes the schemas, and names the exported tables where they lie now."""
    with hive.connect(request["host"], port=request["port"], auth="NONE", username="kkbc") as connection:
        cursor = connection.cursor()
        if request["fresh"]:
            for schema in SCHEMAS:
                cursor.execute(f"drop database if exists {schema} cascade")
            # What a build that was killed left: nobody knows these files, and a new table would not like them.
            shutil.rmtree(request["warehouse"], ignore_errors=True)
        for schema in SCHEMAS:
            cursor.execute(f"create database if not exists {schema}")
        for table, folder in request["tables"].items():
            cursor.execute(f"drop table if exists {table}")
            cursor.execute(f"create table {table} using parquet location '{folder}'")


def main(path: str) -> int:
    """Carries the request out."""
    request = json.loads(Path(path).read_text())
    try:
        declare(request)
    except Exception as error:  # whatever it is, nothing was built
        lines = [line for line in str(error).splitlines() if line.strip()]
        print(f"{type(error).__name__}: {lines[0][:300] if lines else ''}", file=sys.stderr)
        return 3
    outcome = dbtRunner().invoke(request["arguments"])
    if outcome.exception is not None:
        print(str(outcome.exception).splitlines()[0], file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
