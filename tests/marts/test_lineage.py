"""Lineage: events of a build that the standard takes, by file and by HTTP, and a collector that is not there."""

import json
import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kkbc.core.settings import get_settings
from kkbc.marts import lineage
from kkbc.marts.runner import days, invoke
from kkbc.warehouse import connect, server
from tests.dbt_project.conftest import current, warehouse
from tests.http_server import Handler, served
from tests.lineage_schema import check


@pytest.fixture(scope="module")
def seeded(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A warehouse and home whose last layer is the seeds: the smallest that there is; yields its environment."""
    with warehouse(pg, tmp_path_factory) as environment:
        with current(environment), connect("transformer", autocommit=True) as conn:
            invoke(conn, "seeds", days(date(2023, 12, 11), date(2023, 12, 11)))
        yield environment


@pytest.fixture
def built(seeded: dict[str, str]) -> Iterator[Path]:
    """The home, made the current one, with nothing sent yet."""
    with current(seeded):
        lineage.events_file(get_settings()).unlink(missing_ok=True)
        yield get_settings().home


@pytest.fixture
def collector(built: Path) -> Iterator[list[tuple[str | None, dict[str, Any]]]]:
    """A collector behind HTTP, named by connection `lineage`; yields what came: the key, and the event."""
    received: list[tuple[str | None, dict[str, Any]]] = []

    class Collector(Handler):
        def do_POST(self) -> None:
            received.append((self.headers["Authorization"], json.loads(self.posted())))
            self.answer(201)

    with served(Collector) as port:
        connect_to(built, f"http://127.0.0.1:{port}")
        yield received


def connect_to(home: Path, host: str) -> None:
    path = home / "keys" / "connections.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(json.dumps({"lineage": {"conn_type": "http", "host": host, "password": "rahasia"}}))
    path.chmod(0o600)


def in_file() -> list[dict[str, Any]]:
    return [json.loads(line) for line in lineage.events_file(get_settings()).read_text().splitlines()]


def test_a_layer_is_reported_to_the_file(built: Path) -> None:
    sent = lineage.send_build("seeds")
    events = in_file()
    assert len(events) == sent > 10
    for event in events:
        check(event)
    assert [(e["eventType"], e["job"]["name"]) for e in (events[0], events[-1])] == [
        ("START", "build_seeds"),
        ("COMPLETE", "build_seeds"),
    ]
    layer = events[0]["run"]["runId"]
    assert {e["run"]["facets"]["parent"]["run"]["runId"] for e in events[1:-1]} == {layer}
    named = {dataset["name"] for event in events for dataset in event["inputs"] + event["outputs"]}
    assert {f"next.{seed}" for seed in ("provinces", "bpu_income_tiers")} <= {name.partition(".")[2] for name in named}


def test_a_collector_gets_the_events_with_its_key(
    built: Path, collector: list[tuple[str | None, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KKBC_LINEAGE", "lineage")
    get_settings.cache_clear()
    assert lineage.send_build("seeds") == len(collector) > 10
    assert {key for key, _ in collector} == {"Bearer rahasia"}
    for _, event in collector:
        check(event)
    assert not lineage.events_file(get_settings()).exists()


def test_a_collector_that_is_not_there_costs_a_line(
    built: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect_to(built, "http://127.0.0.1:1/?api_key=rahasia")
    monkeypatch.setenv("KKBC_LINEAGE", "lineage")
    get_settings.cache_clear()
    with caplog.at_level(logging.WARNING, logger="kkbc.marts.lineage"):
        assert lineage.send_build("seeds") == 0
    messages = [record.getMessage() for record in caplog.records if record.name == "kkbc.marts.lineage"]
    assert len(messages) == 1
    assert messages[0].startswith("lineage of layer seeds was not sent: ")
    assert "rahasia" not in caplog.text


def test_a_connection_that_is_not_known_is_named(
    built: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KKBC_LINEAGE", "nowhere")
    get_settings.cache_clear()
    assert lineage.send_build("seeds") == 0
    assert "Airflow connection 'nowhere'" in caplog.text


def test_nothing_is_sent_when_lineage_is_off(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_LINEAGE", "off")
    get_settings.cache_clear()
    assert lineage.send_build("seeds") == 0
    assert lineage.airflow_options(get_settings()) == {"disabled": True}
    assert not lineage.events_file(get_settings()).exists()


def test_a_long_file_becomes_an_older_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "FILE_BYTES", 10)
    path = lineage.events_file(get_settings())
    for night in range(6):
        lineage.make_room(get_settings())
        assert not path.exists()
        path.write_text(f"a long night {night}")
    left = {kept.name: kept.read_text()[-1] for kept in path.parent.iterdir()}
    assert left == {"events.jsonl": "5", "events.1.jsonl": "4", "events.2.jsonl": "3", "events.3.jsonl": "2"}


@pytest.mark.parametrize(
    ("change", "value"),
    [("eventType", "DONE"), ("run", {"runId": "1"}), ("job", {"name": "x"}), ("outputs", [{"name": "t"}])],
)
def test_the_schema_refuses_what_is_no_event(change: str, value: Any) -> None:
    event = {
        "eventTime": "2023-12-12T00:00:00Z",
        "eventType": "START",
        "producer": "https://example.org/kkbc",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "0192f5d4-0000-7000-8000-000000000001"},
        "job": {"namespace": "kkbc", "name": "build_models"},
    }
    check(event)
    with pytest.raises(jsonschema.ValidationError):
        check({**event, change: value})
