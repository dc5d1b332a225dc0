"""Whole nights against the truth: every figure of every mart, for every day, after every night.

The branches deliver by every way, each behind a server of its kind. The simulator works the truth out from how it made
each row; it shares no code with the pipeline.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.settings import get_settings
from kkbc.marts import lineage
from kkbc.nights import RunRequest, plain
from kkbc.warehouse import connect, server
from kkbc_play.simulator import Scale, World
from kkbc_play.simulator.truth import comparing
from kkbc_play.simulator.truth.comparing import GRAIN
from kkbc_play.stack import branches
from tests.databases import database
from tests.lineage_schema import check

pytestmark = pytest.mark.e2e

NIGHTS = 4
FIRST = date(2023, 12, 11)
SMALL = Scale(registrations=250, contributions=700, opening=1200)


@pytest.fixture(scope="module")
def played(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, list[Path]]]:
    """A home in which all nights were played and run, with the truth of each; marts are compared night by night."""
    home = tmp_path_factory.mktemp("played")
    with pytest.MonkeyPatch.context() as patch, database(pg) as name:
        patch.setenv("KKBC_HOME", str(home))
        patch.setenv("KKBC_DATABASE_URL", pg.conninfo(name))
        get_settings.cache_clear()
        world = World(home / "world", seed=7, scale=SMALL, first_date=FIRST, ways="mix")
        world.begin()
        branches.start(get_settings(), world.folder)
        try:
            yield world, []
        finally:
            branches.stop(get_settings())
    get_settings.cache_clear()


def request(world: World, day: date) -> RunRequest:
    """A night over all that was played, each branch by its own way."""
    ways = branches.ways_after(get_settings(), world.folder, world.nights_played)
    return RunRequest(day, world.branches_root, ways, first_business_date=FIRST, gate="fail")


def run_next_night(world: World) -> Path:
    """Plays and runs one night; returns the truth."""
    night = world.play_night()
    outcome = plain.run_night(request(world, night.business_date), lambda *_: None)
    assert outcome["failed"] == {}
    assert outcome["publication_id"] is not None
    assert night.truth_path is not None
    return night.truth_path


def rows_of(mart: str, schema_name: str = "bi") -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows of a published mart, as the truth has them."""
    with connect() as conn:
        return comparing.rows_of(conn, mart, schema_name)


def differences(mart: str, wanted: list[dict[str, Any]]) -> list[str]:
    """A line for each row that only one side has, and for each figure that differs."""
    with connect() as conn:
        return comparing.differences(conn, mart, wanted)


@pytest.mark.parametrize("night", range(1, NIGHTS + 1))
def test_every_figure_equals_the_truth(played: tuple[World, list[Path]], night: int) -> None:
    world, truths = played
    truths.append(run_next_night(world))
    marts = comparing.read_truth(truths[-1])
    assert len(truths) == night
    assert set(GRAIN) <= set(marts), f"no truth for {set(GRAIN) - set(marts)}"
    lines = [line for mart in GRAIN for line in differences(mart, marts[mart])]
    assert not lines, f"{len(lines)} differences:\n" + "\n".join(lines[:30])


def test_a_night_run_again_changes_nothing(played: tuple[World, list[Path]]) -> None:
    world, truths = played
    assert len(truths) == NIGHTS
    before = {mart: rows_of(mart) for mart in GRAIN}
    outcome = plain.run_night(request(world, date.fromisoformat(truths[-1].stem)), lambda *_: None)
    assert (outcome["news"], outcome["slices_loaded"], outcome["rows"]) == (False, 0, 0)
    assert {mart: rows_of(mart) for mart in GRAIN} == before


def test_every_way_brought_something(played: tuple[World, list[Path]]) -> None:
    world, _ = played
    with connect() as conn:
        brought = conn.execute("select kind, count(distinct branch_id) from ops.attempt where rows > 0 group by 1")
        counted: dict[str, int] = dict(brought.fetchall())
    assert counted == Counter(world.kinds.values())
    assert set(counted) == {"file", "sftp", "s3", "http", "postgres"}


def test_lineage_is_reported_as_the_standard_has_it(played: tuple[World, list[Path]]) -> None:
    events = [json.loads(line) for line in lineage.events_file(get_settings()).read_text().splitlines()]
    for event in events:
        check(event)
    outputs = {o["name"]: o for e in events if e["eventType"] == "COMPLETE" for o in e["outputs"]}
    marts = {name.rpartition(".")[2]: output for name, output in outputs.items()}
    assert set(GRAIN) <= set(marts)
    # Of the marts that a build brings up to date, every column is traced, as when they are rebuilt.
    for mart in ("kpi_branch_daily", "kpi_channel_daily", "kpi_data_quality_daily", "quarantine_reasons_daily"):
        facets = marts[mart]["facets"]
        columns = {field["name"] for field in facets["schema"]["fields"]}
        # A count of rows is made of no column.
        assert set(facets["columnLineage"]["fields"]) == columns - {"rows"}, mart
    # Counted by branch and day from cells, and a ratio of two of them.
    columns = marts["kpi_branch_daily"]["facets"]["columnLineage"]["fields"]
    assert [(f["name"].partition(".")[2], f["field"]) for f in columns["aktif"]["inputFields"]] == [
        ("next.int_branch_days_counted", "aktif")
    ]
    assert {f["field"] for f in columns["activation_rate_30d"]["inputFields"]} == {
        "activated_30d",
        "registrations_30d_due",
    }


def test_no_person_reaches_bi_logs_or_bookkeeping(played: tuple[World, list[Path]]) -> None:
    """Every NIK that was ever sent and read is looked for in all that is not landing or vault."""
    with connect() as conn:
        people = conn.execute(
            "select nik from vault.registrations union select nik from vault.contributions"
            " union select phone from vault.registrations where phone is not null"
            " union select email from vault.registrations where email is not null"
        ).fetchall()
        assert len(people) > 100
        tables = conn.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname in ('ops', 'raw', 'staging', 'next', 'bi', 'bi_detail')"
        ).fetchall()
        assert len(tables) > 30
        secrets = {value for (value,) in people}
        for (table,) in tables:
            for (text,) in conn.execute(f"select t::text from {table} t"):  # type: ignore[arg-type]
                words = set(text.replace("(", ",").replace(")", ",").replace('"', "").split(","))
                assert not words & secrets, f"a person is in {table}"
    for path in get_settings().home.rglob("*"):
        if path.is_file() and not {"landing", "world", "keys"} & set(path.relative_to(get_settings().home).parts):
            text = path.read_bytes().decode("utf-8", "replace")
            assert not any(nik in text for nik in list(secrets)[:300]), f"a person is in {path.name}"
