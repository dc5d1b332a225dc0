"""Hard deliveries of every rule in one night: each comes out by the letter, and none keeps another from it."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from kkbc.core import tokens
from kkbc.nights import RunRequest, plain
from kkbc.warehouse import connect, server
from tests.databases import database
from tests.dbt_project.conftest import current
from tests.e2e.hard_deliveries import DAY, GONE, hard_deliveries, write

pytestmark = pytest.mark.e2e

HARD = hard_deliveries()
RULES = {16, 17, 20, *range(24, 39)}


@pytest.fixture(scope="module")
def published(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the night says, and a query of what BI sees of it."""
    home, root = tmp_path_factory.mktemp("hard"), tmp_path_factory.mktemp("branches")
    with database(pg) as name, current({"KKBC_HOME": str(home), "KKBC_DATABASE_URL": pg.conninfo(name)}):
        tokens.ensure_key(home)
        for branch_id, hard in HARD.items():
            write(root, branch_id, hard)
        day = date.fromisoformat(DAY)
        outcome = plain.run_night(RunRequest(day, root, first_business_date=day, gate="warn"), lambda *_: None)
        yield outcome


def of_slice(branch_id: str, feed: str) -> tuple[Any, ...]:
    """Status, revision, rows sent, accepted and quarantined, and rows by code, as published."""
    with connect("bi") as conn:
        (row,) = conn.execute(
            "select status, revision, rows_sent, rows_accepted, rows_quarantined from bi.kpi_data_quality_daily"
            " where branch_id = %s and feed = %s and business_date = %s",
            [branch_id, feed, DAY],
        ).fetchall()
        codes = conn.execute(
            "select code, rows from bi.quarantine_reasons_daily"
            " where branch_id = %s and feed = %s and business_date = %s",
            [branch_id, feed, DAY],
        ).fetchall()
    return *row, dict(codes)


def test_every_rule_has_its_hard_deliveries() -> None:
    assert {hard.rule for hard in HARD.values()} == RULES


def test_the_night_is_published_and_every_branch_was_visited(published: dict[str, Any]) -> None:
    assert published["publication_id"] is not None
    assert published["failed"] == {}


@pytest.mark.parametrize(
    ("branch_id", "hard"), HARD.items(), ids=[f"rule {hard.rule}, {hard.what}" for hard in HARD.values()]
)
def test_comes_out_by_the_letter(published: dict[str, Any], branch_id: str, hard: Any) -> None:
    status, revision, sent, accepted, quarantined, codes = of_slice(branch_id, hard.feed)
    if hard.codes is None:
        assert (status, sent, accepted, quarantined, codes) == (GONE, 0, 0, 0, {})
    else:
        assert (sent, accepted, quarantined) == (hard.sent, hard.accepted, hard.sent - hard.accepted)
        assert (status, revision, codes) == (hard.status, hard.revision, hard.codes)
    if hard.feed != "kegiatan":
        assert of_slice(branch_id, "kegiatan")[2:4] == (1, 1), "the slice next to it is good"
    if hard.keys is not None:
        with connect("analyst") as conn:
            found = conn.execute(
                "select registration_no from bi_detail.fct_registration where branch_id = %s", [branch_id]
            ).fetchall()
        assert sorted(key for (key,) in found) == sorted(key.format(branch_id) for key in hard.keys)


def test_what_is_reported_of_the_night_holds_no_text_of_a_branch(published: dict[str, Any]) -> None:
    text = json.dumps(published, default=str)
    assert "Contoh" not in text
    assert "lain.csv" not in text
