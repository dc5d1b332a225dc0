"""Telemetry: figures of nights, sent by Airflow's own client for metrics: StatsD or OpenTelemetry, off by default.

Airflow sends its own beside them: the stack and the containers are told the same address. The names are kkbc.*, under
Airflow's prefix. Nothing but numbers is sent: no branch, no person, no reason.
"""

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import psycopg

from kkbc.core.connections import choose_airflow_home, quiet_airflow
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.warehouse import connect

log = logging.getLogger("kkbc.watching.telemetry")

# What is counted of a night: by its business date, over all its runs; the age is that of what readers see.
_FIGURES = """
select
    (select coalesce(sum(s.rows_accepted), 0) from ops.slice s where s.run_id = r.run_id and s.status <> 'held'),
    (select coalesce(sum(s.rows_quarantined), 0) from ops.slice s where s.run_id = r.run_id),
    (select count(*) from ops.slice s where s.run_id = r.run_id and s.status = 'rejected'),
    (select count(*) from ops.slice s where s.status = 'held'),
    (select count(*) from ops.branch b where b.branch_id <> 'HQ'
        and r.as_of between coalesce(b.active_from, r.as_of) and coalesce(b.active_to, r.as_of)
        and not exists (select from ops.slice s where s.branch_id = b.branch_id and s.business_date = r.as_of
            and s.status <> 'rejected')),
    (select count(*) from (select distinct on (branch_id) outcome from ops.attempt a where a.run_id = r.run_id
        order by branch_id, attempt_id desc) as latest where outcome in ('failed', 'killed')),
    (r.outcome = 'published')::int,
    (select extract(epoch from now() - published_at)::float8 from ops.publication order by publication_id desc limit 1)
from ops.run r where r.run_id = %s
"""
_NAMES = (
    "rows_loaded",
    "rows_quarantined",
    "slices_rejected",
    "slices_held",
    "branches_missing",
    "branches_failed",
    "published",
    "publication_age_seconds",
)

_SECONDS = """
select 'pull', extract(epoch from max(finished_at) - min(started_at))::float8 from ops.attempt
where run_id = %(run_id)s having count(finished_at) > 0
union all
select step, sum(extract(epoch from finished_at - started_at))::float8 from ops.step
where run_id = %(run_id)s and finished_at is not null group by step
"""


def night_figures(conn: psycopg.Connection, run_id: str) -> dict[str, float]:
    """The figures of one run by name: `night.*` counts, `stage.*` seconds. Empty for a run that is not known."""
    row = conn.execute(_FIGURES, [run_id]).fetchone()
    if row is None:
        return {}
    figures = {f"night.{name}": float(value) for name, value in zip(_NAMES, row, strict=True) if value is not None}
    stages = conn.execute(_SECONDS, {"run_id": run_id}).fetchall()
    return figures | {f"stage.{step}_seconds": float(seconds) for step, seconds in stages if seconds is not None}


def emit_night(run_id: str) -> None:
    """Sends the figures of a run; does nothing where metrics are off, and never fails: what goes wrong is logged."""
    if get_settings().metrics == "off":
        return
    try:
        with connect("auditor") as conn:
            figures = night_figures(conn, run_id)
        _send(figures)
    except (UserError, psycopg.Error, OSError, ImportError) as error:
        log.warning("the figures of the night could not be sent: %s", type(error).__name__)


def airflow_options(sink: str) -> dict[str, str]:
    """Airflow's section `metrics` for a setting `metrics`; empty when it is off."""
    parts = urlsplit(sink)
    if parts.scheme == "statsd":
        return {
            "statsd_on": "True",
            "statsd_host": str(parts.hostname),
            "statsd_port": str(parts.port),
            "statsd_prefix": "airflow",
        }
    return {"otel_on": "True"} if parts.scheme in ("http", "https") else {}


def exporter_environment(sink: str) -> dict[str, str]:
    """What OpenTelemetry's exporter reads from the environment for a setting `metrics`; empty for any other sink."""
    if urlsplit(sink).scheme not in ("http", "https"):
        return {}
    base = sink.rstrip("/")
    return {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": base if base.endswith("/v1/metrics") else f"{base}/v1/metrics",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": os.environ.get("OTEL_SERVICE_NAME", "kkbc"),
    }


def _send(figures: Mapping[str, float]) -> None:
    with quiet_airflow():
        stats = _client(get_settings().metrics)
        for name, value in figures.items():
            stats.gauge(f"kkbc.{name}", value)
        _flush()


@cache
def _client(sink: str) -> Any:
    """Airflow's client for metrics, told where to send to; once a process and sink."""
    choose_airflow_home()
    os.environ |= {f"AIRFLOW__METRICS__{name.upper()}": value for name, value in airflow_options(sink).items()}
    os.environ |= exporter_environment(sink)
    from airflow.sdk.observability import stats  # costs seconds to import, and most homes do without
    from airflow.sdk.observability.metrics import stats_utils

    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    return stats


def _flush() -> None:
    """Sends what OpenTelemetry would keep for a minute: the process may end before that."""
    from opentelemetry import metrics

    flush = getattr(metrics.get_meter_provider(), "force_flush", None)
    if flush is not None:
        flush()
