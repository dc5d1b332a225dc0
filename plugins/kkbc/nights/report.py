"""The night's report, after a publication: its cost is its own, and no night fails on its account."""

import logging

import psycopg
from psycopg.types.json import Jsonb

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.masking import error_text
from kkbc.warehouse import connect

STEP = "write_report"

log = logging.getLogger("kkbc.report")


def write_report(build_id: int) -> list[str]:
    """Writes the reports of the night that a build published, and notes the step in ops.step; returns the files.

    Nothing for a build that was not published. What goes wrong is a warning and a failed step with its reason, never an
    error: `kkbc doctor` and the nightly message name a publication without a report.
    """
    started = clock.now()
    try:
        with connect("publisher", autocommit=True) as conn:
            row = conn.execute(
                "select run_id from ops.build where build_id = %s and outcome = 'published'", [build_id]
            ).fetchone()
            if row is None:
                return []
            written, reason = _write()
            conn.execute(
                "insert into ops.step (run_id, step, started_at, finished_at, outcome, detail)"
                " values (%s, %s, %s, clock_timestamp(), %s, %s)",
                [row[0], STEP, started, "failed" if reason else "ok", Jsonb({"reason": reason}) if reason else None],
            )
    except (UserError, psycopg.Error) as error:
        log.warning("the report could not be written: %s", error_text(error))
        return []
    return written


def write_quietly() -> list[str]:
    """Writes the reports of what is live, e.g. after a rollback; what goes wrong is a warning."""
    return _write()[0]


def _write() -> tuple[list[str], str | None]:
    """The files, or why there are none."""
    scopes = get_settings().report_pages
    if scopes == "off":
        return [], None
    try:
        from kkbc.reporting import write_pages

        return [str(path) for path in write_pages(scopes)], None
    except Exception as error:  # of whatever library draws; what is published stands without a report
        reason = error_text(error)
        log.warning("the report could not be written, what is published stands: %s", reason)
        return [], reason
