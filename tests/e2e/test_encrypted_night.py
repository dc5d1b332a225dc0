"""A whole night with encryption: no person is found in landing as it lies, and a backfill from it changes no figure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.encryption import MAGIC
from kkbc.core.settings import get_settings
from kkbc.exchange.registry import load_registry
from kkbc.nights import RunRequest, backfill, plain
from kkbc.nights.prepare import prepare
from kkbc.rights import searching as privacy_search
from kkbc.slices import AuditNote
from kkbc.warehouse import connect, server
from tests.canary import DAY, FORMATS, MANIFESTS, STEMS, in_files, plant
from tests.databases import database
from tests.dbt_project.conftest import current

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def night(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home after a night of branches that write persons everywhere."""
    folder = tmp_path_factory.mktemp("encrypted")
    home, registry = folder / "home", folder / "branches.yml"
    home.mkdir()
    names = ["HQ", *FORMATS, MANIFESTS]
    registry.write_text("branches:\n" + "".join(f"  - {{branch_id: {name}}}\n" for name in names))
    with database(pg) as name:
        place = {"KKBC_HOME": str(home), "KKBC_DATABASE_URL": pg.conninfo(name), "KKBC_REGISTRY": str(registry)}
        with current(place | {"KKBC_LANDING_ENCRYPTION": "true"}):
            load_registry.cache_clear()
            prepare()
            plant(folder / "branches")
            request = RunRequest(DAY, folder / "branches", first_business_date=DAY, gate="warn")
            done = plain.run_night(request, lambda *_: None, lambda _: None)
            assert done["publication_id"] is not None
            yield home
        load_registry.cache_clear()


def figures() -> list[Any]:
    with connect() as conn:
        tables = conn.execute("select tablename from pg_tables where schemaname = 'bi' order by 1").fetchall()
        return [
            conn.execute(f"select to_jsonb(t) from bi.{name} t order by 1::text").fetchall()  # type: ignore[arg-type]
            for (name,) in tables
            if name.startswith("kpi_")
        ]


def test_no_person_is_in_landing_as_it_lies(night: Path) -> None:
    landing = night / "landing"
    files = [path for path in landing.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert all(path.read_bytes().startswith(MAGIC) for path in files)
    assert dict(in_files(landing)) == {}
    found = privacy_search.search(list(STEMS.values()), protected=True)
    assert {place.value for place in found if str(landing) in place.place} == set(range(1, len(STEMS) + 1))
    assert list((night / "spool").iterdir()) == []


def test_a_backfill_reads_the_same_rows(night: Path) -> None:
    before = figures()
    assert sum(map(len, before)) > 10
    done = backfill.backfill(
        DAY, DAY, AuditNote("to see", "a tester"), progress=lambda *_: None, print_line=lambda _: None, gate="warn"
    )
    assert done["failed"] == {}
    assert (done["passed"], done["found"]) == (0, 0)
    assert done["rows"] > 300
    assert figures() == before
    assert dict(in_files(night / "landing")) == {}
    assert get_settings().landing_encryption
