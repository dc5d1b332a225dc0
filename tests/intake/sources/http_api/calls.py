"""What tests of kind http ask for and put there."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.errors import SliceRejected
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources import Manifest, Wanted
from kkbc.intake.sources.api import Patience
from kkbc.intake.sources.http import HttpSource
from tests.intake.sources.branch_api import Asked, BranchApi
from tests.intake.sources.pulled import (
    DAY,
)

QUICK = Patience(
    connect_seconds=2,
    read_seconds=0.3,
    answer_seconds=0.8,
    wait_seconds=2.5,
    pause_seconds=0.01,
    answer_bytes=1 << 20,
)
# For answers that come: a busy machine may take its time with them.
CALM = replace(QUICK, connect_seconds=30, read_seconds=30, answer_seconds=60)


def manifest(day: date = DAY, *slices: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "branch_id": "KC001",
        "business_date": day.isoformat(),
        "revision": 1,
        "sent_at": f"{day}T19:02:11+07:00",
        "slices": list(slices),
    } | changes


def found(
    source: HttpSource, since: date = DAY, until: date = DAY, skip: frozenset[date] = frozenset()
) -> list[Manifest]:
    return list(source.manifests(Wanted(since, until, skip)))


def fetch(source: HttpSource, target: Path, rows: int, revision: int = 1) -> bytes:
    delivery = Delivery("KC001", DAY, 1, None, (), "deliveries/2023-12-11", "")
    source.fetch(delivery, Entry("iuran", rows, revision=revision), target)
    return target.read_bytes()


def rejection(source: HttpSource, target: Path, rows: int) -> str:
    with pytest.raises(SliceRejected) as rejected:
        fetch(source, target, rows)
    return rejected.value.reason


def put(api: BranchApi, rows: int) -> bytes:
    """A slice of so many rows; returns the lines that must come of it."""
    items = [{"id_bayar": f"P-{number}", "total": number} for number in range(rows)]
    api.slices["iuran", "2023-12-11", 1] = items
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def once(answer: Callable[[Asked], None], at: int = 1) -> Callable[[Asked], bool]:
    """Misbehaviour at the request of that number, counted from 1, and none after it."""

    def misbehave(asked: Asked) -> bool:
        if len(asked.server.asked) != at:
            return False
        answer(asked)
        return True

    return misbehave


def always(answer: Callable[[Asked], None]) -> Callable[[Asked], bool]:
    def misbehave(asked: Asked) -> bool:
        answer(asked)
        return True

    return misbehave
