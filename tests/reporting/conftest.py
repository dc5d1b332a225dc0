"""A published campaign of six branches of two offices, for the length of a module: the tests only read it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pytest

from kkbc.core.settings import get_settings
from kkbc.reporting.reading import Snapshot, read_published
from kkbc.warehouse import server
from tests import databases
from tests.reporting.invented import Campaign, publish

FIRST, AS_OF = date(2024, 11, 10), date(2025, 12, 18)
# Two offices; KC010 is registered and has no rows.
BRANCHES = ["KC001", "KC002", "KC003", "KC055", "KC056"]
EMPTY = "KC010"


def campaign() -> Campaign:
    """What is published here."""
    made = Campaign(FIRST, AS_OF, BRANCHES).invent()
    registered = made.tables["dim_branch"]
    registered.append({**registered[0], "branch_id": EMPTY, "branch_name": "Cabang Sunyi"})
    made.tables["branch_standing"].append({"branch_id": EMPTY, "slices_held": 0})
    # A branch without a target is left out of the sums of targets, one with a target of 0 is in them.
    targets = made.tables["kpi_target_monthly"]
    month = AS_OF.replace(day=1)
    made.tables["kpi_target_monthly"] = [
        row for row in targets if not (row["branch_id"] == "KC003" and row["month"] == month)
    ]
    for row in targets:
        if row["branch_id"] == "KC056" and row["month"] == month:
            row |= {"target_new": 0, "attainment_new": None, "rank": None}
    held = next(row for row in made.tables["branch_standing"] if row["branch_id"] == "KC002")
    held |= {"slices_held": 2, "held_since_date": AS_OF}
    return made


@pytest.fixture(scope="module")
def published(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """The campaign, published in a warehouse that is the current one."""
    made = campaign()
    with pytest.MonkeyPatch.context() as patch, databases.database(pg) as name:
        patch.setenv("KKBC_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("KKBC_DATABASE_URL", pg.conninfo(name))
        get_settings.cache_clear()
        publish(made)
        yield made
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def snapshot(published: Campaign) -> Snapshot:
    """What a report reads of it."""
    return read_published()


@contextmanager
def reports_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder of reports for the length of a block."""
    shutil.rmtree(get_settings().home / "reports", ignore_errors=True)
    try:
        yield
    finally:
        monkeypatch.delenv("KKBC_REPORTS_KEPT", raising=False)
        monkeypatch.delenv("KKBC_REPORT_PAGES", raising=False)
        get_settings.cache_clear()
        shutil.rmtree(get_settings().home / "reports", ignore_errors=True)
