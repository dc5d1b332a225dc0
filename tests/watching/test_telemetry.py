"""Figures of a night arrive at a real StatsD socket and a real OpenTelemetry collector's address, or nowhere."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import note_access
from kkbc.watching.telemetry import airflow_options, emit_night, exporter_environment, night_figures
from kkbc_play.stack import configuration
from tests.http_server import Handler, served
from tests.watching.notifying.conftest import bad_night, branches, run

__all__ = ["bad_night", "branches"]

EXPECTED = {
    "night.rows_loaded": 72,
    "night.rows_quarantined": 20,
    "night.slices_rejected": 1,
    "night.slices_held": 1,
    "night.branches_missing": 1,
    "night.branches_failed": 1,
    "night.published": 1,
    "access.entries": 1,
    "stage.publish_seconds": 3,
}


@pytest.fixture
def night(bad_night: str) -> str:
    run("update ops.slice set run_id = %s", bad_night)
    run("update ops.run set outcome = 'published'")
    run(
        "insert into ops.step (run_id, step, started_at, finished_at, outcome)"
        " values (%s, 'publish', now(), now() + interval '3 s', 'ok')",
        bad_night,
    )
    note_access("vault", done_by="sari", why="a question of the branch")
    return bad_night


def emit_elsewhere(run_id: str, sink: str) -> str:
    """Sends the figures from a process of its own, as Airflow's client is one for each process; returns its output."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from kkbc.watching.telemetry import emit_night; emit_night(sys.argv[1])",
            run_id,
        ],
        env={**os.environ, "KKBC_METRICS": sink},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_figures_of_a_night(night: str) -> None:
    with connect("auditor") as conn:
        figures = night_figures(conn, night)
        assert night_figures(conn, "unknown") == {}
    assert 0 <= figures.pop("night.publication_age_seconds") < 3600
    assert figures.pop("stage.pull_seconds") == 0
    with connect("auditor") as conn:
        ((head,),) = conn.execute("select hash from ops.access").fetchall()
    assert f"{int(figures.pop('access.head')):012x}" == head[:12]
    assert figures == EXPECTED


def test_statsd_gets_them_as_gauges(night: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(10)
        assert emit_elsewhere(night, f"statsd://127.0.0.1:{collector.getsockname()[1]}") == ""
        found = {}
        # Airflow's own come by the same way.
        while "airflow.kkbc.stage.publish_seconds" not in found:
            name, _, value = collector.recv(2000).decode().partition(":")
            found[name] = value
    assert {name: float(found[f"airflow.kkbc.{name}"].removesuffix("|g")) for name in EXPECTED} == EXPECTED
    assert found.keys() >= {"airflow.kkbc.night.publication_age_seconds", "airflow.kkbc.stage.pull_seconds"}


@contextmanager
def collector() -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    got: list[tuple[str, bytes]] = []

    class Collector(Handler):
        def do_POST(self) -> None:
            got.append((self.path, self.posted()))
            self.answer(200)

    with served(Collector) as port:
        yield port, got


def test_a_collector_of_opentelemetry_gets_them_before_the_process_ends(night: str) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    with collector() as (port, got):
        emit_elsewhere(night, f"http://127.0.0.1:{port}")
    found = {}
    for path, body in got:
        assert path == "/v1/metrics"
        request = ExportMetricsServiceRequest.FromString(body)
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = metric.gauge.data_points[0].as_double
    for name, value in EXPECTED.items():
        assert found[f"airflow.kkbc.{name}"] == value


def test_where_metrics_are_off_nothing_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a warehouse, which would be an error if it were asked.
    monkeypatch.setattr("kkbc.watching.telemetry.connect", None)
    emit_night("r")


def test_a_night_does_not_fail_on_their_account(
    warehouse: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KKBC_METRICS", "statsd://127.0.0.1:1")
    monkeypatch.setenv("KKBC_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    emit_night("r")
    assert caplog.messages == ["the figures of the night could not be sent: UserError"]


@pytest.mark.parametrize(
    "sink", ["on", "statsd://host", "statsd://:8125", "statsd://host:x", "udp://host:1", "http://"]
)
def test_a_sink_that_is_none_is_a_mistake_of_the_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch, sink: str
) -> None:
    monkeypatch.setenv("KKBC_METRICS", sink)
    get_settings.cache_clear()
    with pytest.raises(UserError, match=r"setting 'metrics' is not valid: .* is neither off"):
        get_settings()


def test_airflow_of_the_home_sends_its_own_to_the_same_place(home: Path) -> None:
    assert airflow_options("off") == exporter_environment("off") == {}
    assert airflow_options("statsd://host:8125")["statsd_host"] == "host"
    assert exporter_environment("statsd://host:8125") == {}
    assert airflow_options("https://otel.example") == {"otel_on": "True"}
    environment = exporter_environment("https://otel.example/")
    assert environment["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] == "https://otel.example/v1/metrics"
    assert "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" not in configuration.environment(get_settings())
