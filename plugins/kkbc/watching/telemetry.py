"""Telemetry: figures of nights, sent by Airflow's own client for metrics: StatsD or OpenTelemetry, off by default.

Airflow sends its own next to them, to the same address, which the stack and the containers are given. The names are
kkbc.*, under Airflow's prefix. Nothing but numbers is sent: no branch, no person, no reason.
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
from kkbc.warehouse import access_record, connect

log = logging.getLogger("kkbc.watching.telemetry")

# Rows are those that the run brought; how slices and branches stand is that of its business date, after all its runs.
_FIGURES = """
select
    r.rows_loaded,
    r.rows_quarantined,
    (select count(*) from ops.slice_standing s where s.business_date = r.as_of and s.status = 'rejected'),
    (select count(*) from ops.held_slice),
    (select count(*) from ops.branch_standing b where b.business_date = r.as_of and b.is_missing),
    (select count(*) from ops.branch_visit v where v.business_date = r.as_of and v.is_failed),
    coalesce(p.as_of >= r.as_of, false)::int,
    extract(epoch from now() - p.made_at)::float8
from ops.run_summary r left join ops.publication_live p on true
where r.run_id = %s
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

HEAD_DIGITS = 12
"""Hexadecimal digits of a hash that a figure can hold without loss."""

_SECONDS = """
select step, sum(seconds)::float8 from ops.run_step where run_id = %(run_id)s and seconds is not null
group by step order by min(position)
"""


def night_figures(conn: psycopg.Connection, run_id: str) -> dict[str, float]:
    """The figures of one run by name: `night.*` counts, `stage.*` seconds. Empty for a run that is not known.

    `access.entries` and `access.head` are length and last hash of the record of accesses, of the hash its first digits.
    """
    row = conn.execute(_FIGURES, [run_id]).fetchone()
    if row is None:
        return {}
    figures = {f"night.{name}": float(value) for name, value in zip(_NAMES, row, strict=True) if value is not None}
    stages = conn.execute(_SECONDS, {"run_id": run_id}).fetchall()
    record = access_record.head(conn)
    figures |= {
        "access.entries": float(record.entries),
        "access.head": float(int(record.hash[:HEAD_DIGITS] or "0", 16)),
    }
    return figures | {f"stage.{step}_seconds": float(seconds) for step, seconds in stages}


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
    """Airflow's client for metrics, set to send to `sink`; once a process and sink."""
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
