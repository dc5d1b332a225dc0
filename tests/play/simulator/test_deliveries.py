"""What lies at the branches: manifests that are true but where they are broken on purpose, and every valid shape."""

import gzip
import hashlib
import json
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kkbc_play.simulator import World
from kkbc_play.simulator.truth.slices import days_between

REASONS = {
    *("CHECKSUM", "ROW_COUNT", "UNREADABLE", "FILE_MISSING", "HEADER"),
    *("SCHEMA_VERSION", "MANIFEST_BRANCH", "MANIFEST_DATE"),
}


def _manifests(world: World) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in sorted(world.branches_root.glob("*/*/manifest*.json")):
        try:
            found.append((path, json.loads(path.read_text(encoding="utf-8"))))
        except ValueError:
            found.append((path, {"files": [], "broken": True}))
    return found


def test_no_delivery_lies_after_the_night_played(busy: World) -> None:
    days = {date.fromisoformat(path.name) for path in busy.branches_root.glob("*/*")}
    assert days == set(days_between(date(2023, 12, 10), date(2023, 12, 14)))


def test_manifests_are_true_where_the_slice_is_not_rejected(busy: World, truth: dict[str, Any]) -> None:
    taken = {
        (s["branch_id"], s["business_date"], s["feed"], s["revision"]): s["rows_sent"]
        for s in truth["slices"] + truth["opening_slices"]
        if s["status"] not in {"missing", "rejected"}
    }
    seen = 0
    for path, manifest in _manifests(busy):
        for entry in manifest["files"]:
            key = (path.parent.parent.name, path.parent.name, entry["feed"], manifest["revision"])
            if key not in taken:
                continue
            data = (path.parent / entry["name"]).read_bytes()
            assert entry["rows"] == taken[key]
            assert entry["bytes"] == len(data)
            assert entry["sha256"] == hashlib.sha256(data).hexdigest()
            assert manifest["schema_version"] == 1
            assert (manifest["branch_id"], manifest["business_date"]) == key[:2]
            seen += 1
    assert seen == len(taken)


def test_a_jsonl_file_holds_the_rows_that_its_manifest_counts(busy: World, truth: dict[str, Any]) -> None:
    counted = {
        (s["branch_id"], s["business_date"], s["feed"]): s["rows_sent"]
        for s in truth["slices"]
        if s["revision"] == 1 and s["status"] not in {"missing", "rejected"}
    }
    read = 0
    for (branch_id, day, feed), rows in counted.items():
        for path in (busy.branches_root / branch_id / day).glob(f"{feed}.jsonl*"):
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" and data else data).decode()
            assert sum(bool(line.strip()) for line in text.split("\n")) == rows
            read += 1
    assert read > 50


@pytest.mark.parametrize("form", ["csv", "csv.gz", "xlsx", "jsonl", "jsonl.gz"])
def test_every_format_is_met(busy: World, form: str) -> None:
    assert list(busy.branches_root.glob(f"*/*/*.{form}"))


def test_every_rejection_late_missing_and_healed_slice_is_met(busy: World) -> None:
    histories: dict[tuple[str, str, str], list[tuple[str, str | None]]] = {}
    for path in sorted((busy.folder / "truth").glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8"))["slices"]:
            key = (entry["feed"], entry["branch_id"], entry["business_date"])
            histories.setdefault(key, []).append((entry["status"], entry["reason"]))
    seen = {state for history in histories.values() for state in history}
    assert {reason for _, reason in seen if reason} == REASONS
    assert {status for status, _ in seen} == {"on_time", "late", "missing", "empty", "rejected"}
    turns = {(old[0], new[0]) for history in histories.values() for old, new in pairwise(history)}
    assert {("missing", "late"), ("rejected", "late")} <= turns


def test_restated_slices_and_stray_files_are_met(busy: World) -> None:
    manifests = _manifests(busy)
    assert any(manifest.get("revision", 1) > 1 and len(manifest["files"]) < 3 for _, manifest in manifests)
    assert any(entry["feed"] == "absensi" for _, manifest in manifests for entry in manifest["files"])
    assert any(manifest.get("broken") for _, manifest in manifests)
    assert list(busy.branches_root.glob("*/*/catatan.txt"))


def test_a_slice_of_no_rows_may_be_a_file_of_no_bytes(busy: World) -> None:
    empty = [path for path in busy.branches_root.glob("KC*/*/*.*") if path.stat().st_size == 0]
    assert {path.suffix for path in empty} >= {".csv", ".gz", ".xlsx", ".jsonl"}


def test_head_office_sends_targets_before_the_first_night_and_restates_them(busy: World) -> None:
    assert [path.name for path in sorted((busy.branches_root / "HQ").iterdir())] == ["2023-12-10", "2023-12-14"]
