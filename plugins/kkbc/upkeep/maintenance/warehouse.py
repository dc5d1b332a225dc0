"""Maintenance of the warehouse: partitions ahead, rows past their time, statistics, old publications."""

import os
import re
import subprocess
import sys
from datetime import date, timedelta

import psycopg
from psycopg import sql

from kkbc.core import clock, local_airflow
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.masking import without_values
from kkbc.slices import AuditNote
from kkbc.slices.expiring import expire_persons, forget_records
from kkbc.slices.quarantine import Selection, resolve
from kkbc.upkeep.maintenance.policy import Policy
from kkbc.warehouse import connect
from kkbc.warehouse.connection import Role

_ROWS_FOUND = re.compile(r"Found (\d+) rows")
# Kinds of rows that ops.forget knows, which also says what of them stays.
_PAST = ("attempts", "steps", "dbt_results", "expectation_results", "notifications")


def partitions(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Makes the partitions of this month and of those ahead, so that no load has to wait for that."""
    today = clock.now().astimezone(clock.JAKARTA).date()
    wanted = [_months_on(today, number) for number in range(policy.months_ahead + 1)]
    with connect("loader") as conn:
        found = [day for day in wanted if not _has_partition(conn, day)]
        for day in found if not dry_run else ():
            conn.execute("select ops.ensure_partitions(%s)", [day])
    return {"months_made": len(found)}


def rows(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Deletes rows of ops that are past their time; returns how many of each kind."""
    days = {"dbt_results": policy.results, "expectation_results": policy.results}
    gone = {}
    with connect("loader") as conn:
        for name in _PAST:
            values = [name, days.get(name) or getattr(policy, name), get_settings().publications_kept]
            ((gone[name],),) = conn.execute("select ops.forget(%s, %s, %s)", values).fetchall()
        if dry_run:
            conn.rollback()
    return gone


def persons(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Lets go of persons who were not heard of for so long, and closes what waits in quarantine for too long."""
    before = clock.now().astimezone(clock.JAKARTA).date() - timedelta(days=policy.vault)
    note = AuditNote(f"open for more than {policy.quarantine} days", "kkbc maintain")
    with connect("loader") as conn, conn.transaction():
        resolved = resolve(conn, Selection(), note, days=policy.quarantine)
        gone, rows = expire_persons(conn, before)
        records = forget_records(conn, before)
        if dry_run:
            raise psycopg.Rollback
    return {"persons": gone, "vault_rows": rows, "of_records": records, "quarantined": resolved}


def airflow(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Removes runs, task instances, XCom and audit log of Airflow past their time, by Airflow's own command.

    Only where its database can be reached: tasks in containers cannot, and nothing is done there.
    Raises UserError when the command fails.
    """
    found = local_airflow.metadata(get_settings())
    if found is None:
        return {"reachable": 0, "rows": 0}
    before = (clock.now() - timedelta(days=policy.airflow)).isoformat(timespec="seconds")
    command = [sys.executable, "-m", "airflow", "db", "clean", "--clean-before-timestamp", before, "--skip-archive"]
    done = subprocess.run(
        [*command, "--error-on-cleanup-failure", "--dry-run" if dry_run else "--yes"],
        env={**os.environ, **found},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"`airflow db clean` failed: {without_values(last)}", "see to Airflow's database, then try again"
        )
    return {"reachable": 1, "rows": sum(map(int, _ROWS_FOUND.findall(done.stdout)))}


def analyze(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Brings the planner's statistics up to date, each schema by whoever owns its tables."""
    owners: dict[Role | None, tuple[str, ...]] = {
        None: ("ops", "raw", "vault"),
        "transformer": ("next",),
        "publisher": ("bi", "bi_detail"),
    }
    done = 0
    for role, schemas in owners.items():
        with connect(role, autocommit=True) as conn:
            tables = conn.execute(
                # Of a partitioned table the statistics of its own are made with those of its parts.
                "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                " where n.nspname = any(%s) and c.relkind in ('r', 'p') and not c.relispartition"
                " and pg_has_role(c.relowner, 'usage') order by 1, 2",
                [list(schemas)],
            ).fetchall()
            for table in tables if not dry_run else ():
                conn.execute(sql.SQL("analyze {}").format(sql.Identifier(*table)))
            done += len(tables)
    return {"tables": done}


def publications(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Lets go of what is kept to take back more publications than `publications_kept`."""
    from kkbc.publishing.record import alone
    from kkbc.publishing.undo import prune
    from kkbc.publishing.work import Work

    with connect("publisher") as conn:
        alone(conn)
        pruned = prune(Work(conn), get_settings().publications_kept)
        if dry_run:
            conn.rollback()
    return {"publications": len(pruned)}


def _months_on(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    return date(day.year + years, month + 1, 1)


def _has_partition(conn: psycopg.Connection, day: date) -> bool:
    row = conn.execute(
        "select bool_and(to_regclass(format('%%I.%%I', n.nspname, c.relname || %s::text)) is not null)"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('raw', 'vault') and c.relkind = 'p'",
        [f"_{day:%Y_%m}"],
    ).fetchone()
    return row is not None and bool(row[0])
