"""One build by Spark, run by kkbc.marts.spark in Spark's environment: names the exported tables, then runs dbt.

Usage: build.py REQUEST.json, with `host`, `port`, `warehouse` (folder), `tables` (name: folder), `fresh` (whether what
was built goes first), `parent` (process that started this), and the arguments of dbt to `parse` and to `build`. What
dbt did is in the run_results.json of its target folder. Exit status 3: Spark was not reached or ended meanwhile; the
last line of stderr says why.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

from dbt.cli.main import dbtRunner
from pyhive import hive

SCHEMAS = ("next", "staging", "raw", "ops")


def declare(request: dict) -> None:
    """Makes the schemas, and names the exported tables where they lie now."""
    with hive.connect(request["host"], port=request["port"], auth="NONE", username="kkbc") as connection:
        cursor = connection.cursor()
        cursor.execute("set spark.sql.warehouse.dir")
        writes_to = re.sub("^file:/+", "/", cursor.fetchall()[0][1])
        if writes_to != request["warehouse"]:
            # Of an installation with another folder, whose tables would be dropped here.
            raise RuntimeError(f"it writes to {writes_to}, and this installation reads {request['warehouse']}")
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


def end_with(parent: int) -> None:
    """Lets the kernel end this process with the one that started it, or another build would begin beside this one."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def main(path: str) -> int:
    """Carries the request out."""
    request = json.loads(Path(path).read_text())
    end_with(request["parent"])
    try:
        declare(request)
    except Exception as error:  # whatever it is, nothing was built
        lines = [line for line in str(error).splitlines() if line.strip()]
        print(f"{type(error).__name__}: {lines[0][:300] if lines else ''}", file=sys.stderr)
        return 3
    # Variables are for the build alone: what was parsed serves every night, and says the same of the models each time.
    outcome = dbtRunner().invoke(request["parse"])
    if outcome.exception is None:
        outcome = dbtRunner(manifest=outcome.result).invoke(request["build"])
    if outcome.exception is not None:
        lines = [line.strip() for line in str(outcome.exception).splitlines() if line.strip()]
        print(" ".join(lines[:2])[:300], file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
