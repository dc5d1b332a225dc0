"""Kind http: whole visits."""

from pathlib import Path
from typing import Any

import pytest

from kkbc.core.connections import Connection
from kkbc.exchange.registry import Branch
from kkbc.intake.sources import open_source
from kkbc.intake.sources.http import HttpSource
from tests.deliveries import TEMPLATE, deliver
from tests.intake.sources.branch_api import TOKEN, Asked, BranchApi
from tests.intake.sources.http_api.calls import CALM, manifest
from tests.intake.sources.pulled import (
    DAY,
    KC001,
    ROWS,
    empty_warehouse,
    keep_connection,
    landed,
    loaded,
    pull_by,
    visit,
)


def as_items(feed: str, branch_id: str = "KC001") -> list[dict[str, Any]]:
    return [TEMPLATE[feed] | {"kode_kantor": branch_id} | row for row in ROWS[feed]]


def offer(api: BranchApi, **revisions: int) -> None:
    """ROWS as an API gives them, each slice with its revision."""
    api.manifests["2023-12-11"] = manifest(
        DAY, *({"feed": feed, "revision": revisions.get(feed, 1), "rows": len(rows)} for feed, rows in ROWS.items())
    )
    api.slices |= {(feed, "2023-12-11", revisions.get(feed, 1)): as_items(feed) for feed in ROWS}


@pytest.fixture
def by_file(warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the same rows come to when they are sent as files; the warehouse is empty again."""
    deliver(tmp_path / "branches", ROWS)
    pull_by(open_source(KC001, tmp_path / "branches"), KC001, monkeypatch)
    came = loaded()
    empty_warehouse()
    return came


def test_a_visit_brings_what_the_same_rows_as_files_bring(
    by_file: dict[str, list[Any]], api: BranchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(api)
    api.most_rows = 2
    connection = Connection("api", host=api.address, password=TOKEN)
    report = pull_by(HttpSource(KC001, connection, CALM), KC001, monkeypatch)
    assert (report.loaded, report.rejected, report.rows) == (3, 0, 8)
    assert loaded() == by_file
    assert len(by_file["raw.registrations"]) == 3
    again = pull_by(HttpSource(KC001, connection, CALM), KC001, monkeypatch)
    assert (again.outcome, again.notes) == ("nothing_new", [])
    assert loaded() == by_file


def test_a_slice_that_is_restated_replaces_itself_alone(
    by_file: dict[str, list[Any]], api: BranchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(api)
    connection = Connection("api", host=api.address, password=TOKEN)
    pull_by(HttpSource(KC001, connection, CALM), KC001, monkeypatch)
    offer(api, iuran=2)
    api.slices["iuran", "2023-12-11", 2] = as_items("iuran")[:1]
    api.manifests["2023-12-11"]["slices"][1]["rows"] = 1
    report = pull_by(HttpSource(KC001, connection, CALM), KC001, monkeypatch)
    assert (report.loaded, report.notes) == (1, [])
    after = loaded()
    assert [row[:3] for row in after["ops.slice"]] == [
        ("iuran", 1, "superseded"),
        ("iuran", 2, "loaded"),
        ("kegiatan", 1, "loaded"),
        ("pendaftaran", 1, "loaded"),
    ]
    assert after["raw.registrations"] == by_file["raw.registrations"]


def test_a_rejected_slice_leaves_the_others_and_is_taken_when_fixed(
    by_file: dict[str, list[Any]], api: BranchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(api)

    def misbehave(asked: Asked) -> bool:
        if asked.path_asked != "iuran":
            return False
        asked.page(total=99)
        return True

    api.misbehave = misbehave
    connection = Connection("api", host=api.address, password=TOKEN)
    report = pull_by(HttpSource(KC001, connection, CALM), KC001, monkeypatch)
    assert (report.loaded, report.rejected) == (2, 1)
    assert loaded()["ops.slice"][0][:7] == ("iuran", 1, "rejected", "ROW_COUNT", 2, 0, 0)
    assert len(landed("iuran")) == 2
    api.misbehave = None
    assert pull_by(HttpSource(KC001, connection, CALM), KC001, monkeypatch).loaded == 1
    assert loaded() == by_file


def test_the_registry_and_a_connection_are_all_that_it_takes(warehouse: str, api: BranchApi) -> None:
    offer(api)
    keep_connection("api_kc001", "http", host=api.address, password=TOKEN)
    report = visit(Branch(branch_id="KC001", kind="http", connection="api_kc001"))
    assert (report.kind, report.loaded, report.rejected, report.rows) == ("http", 3, 0, 8)
