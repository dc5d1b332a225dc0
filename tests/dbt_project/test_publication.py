"""Publications of real builds: by the keys that were noted, readers get what a comparison of whole tables finds."""

import random
from datetime import timedelta
from functools import partial

import psycopg
import pytest

from kkbc.marts import runner
from kkbc.marts.runner import invoke
from kkbc.publishing import foresee, publish, publish_marts, published_models, roll_back
from kkbc.warehouse import connect
from tests.dbt_project.histories import History
from tests.dbt_project.test_incremental import FIRST, LAST, START, build_night, conn, empty  # noqa: F401 (fixtures)

# What a build brings up to date instead of making it anew.
KEPT_TABLES = {
    ("bi_detail", name)
    for name in ("fct_registration", "fct_contribution", "fct_coverage", "fct_acquisition", "dim_participant")
}


def test_readers_get_what_was_built_whatever_the_nights_were(
    conn: psycopg.Connection,  # noqa: F811
    empty: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nights whose gate fails, one that is rolled back, and a full refresh among them."""
    monkeypatch.setattr(runner, "invoke", partial(invoke, tests=False))
    by_keys: list[set[tuple[str, str]]] = []
    take_noted = publish.take_noted

    def noted(*arguments: object) -> object:
        found = take_noted(*arguments)  # type: ignore[arg-type]
        by_keys.append(set(found))
        return found

    monkeypatch.setattr(publish, "take_noted", noted)
    chance = random.Random(3)
    history = History(chance, FIRST, LAST)
    with connect() as owner:
        history.open(owner)
    as_of = START
    for fate in ("published", "gate", "published", "rolled back", "refreshed", "published"):
        with connect("loader") as loader:
            loader.execute("set role none")
            history.night(loader, as_of)
            if fate == "refreshed":
                loader.execute("update ops.built set complete = false")
        build_id = build_night(as_of, published=fate != "gate")
        if fate != "gate":
            foreseen = preview()
            with connect("publisher") as publisher:
                assert publish_marts(publisher, build_id=build_id, as_of=as_of).tables == foreseen
            assert differing() == []
        if fate == "rolled back":
            with connect("publisher") as publisher:
                roll_back(publisher, why="wrong figures", who="tester")
            assert differing() != []
        as_of = min(LAST, as_of + timedelta(days=chance.randint(0, 9)))
    went_by_keys = [tables >= KEPT_TABLES for tables in by_keys]
    # The first one and that of the full refresh compare all.
    assert went_by_keys == [False, True, True, False, True]


def preview() -> dict[str, dict[str, int]]:
    """What a comparison of all rows finds."""
    with connect("publisher") as publisher:
        return foresee(publisher).tables


def differing() -> list[str]:
    """Published tables that are not what was built."""
    with connect() as owner:
        return [
            model.table
            for model in published_models()
            if owner.execute(
                f"select 1 from ((table next.{model.name} except all table {model.table})"  # type: ignore[arg-type]
                f" union all (table {model.table} except all table next.{model.name})) odd limit 1"
            ).fetchone()
        ]
