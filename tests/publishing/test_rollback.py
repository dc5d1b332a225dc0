"""Rollback: an earlier publication comes back whole, row by row, whatever happened since."""

import random
from typing import Any

import psycopg
import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.publishing import ForeignKey, PublishedModel, publish_marts, roll_back
from kkbc.warehouse import connect, locks
from kkbc.warehouse.locks import Lock

from .conftest import DAY, MODELS, change, contents, open_build, publish, publishes, read, undo

BRANCHES = PublishedModel("dim_b", "bi", ("branch_id",))
WITH_FOREIGN_KEY = PublishedModel(
    "kpi_x", "bi", MODELS[0].primary_key, (ForeignKey(("branch_id",), "dim_b", ("branch_id",)),)
)


def constraints(table: str) -> list[Any]:
    return read("publisher", f"select conname from pg_constraint where conrelid = '{table}'::regclass order by 1")


def kept() -> list[Any]:
    """The tables of what takes publications back."""
    return read("publisher", "select tablename from pg_tables where schemaname = 'bi_kept' and tablename ~ '^d[0-9]+_'")


def test_every_kept_publication_comes_back_exactly(marts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over rows that change, a new shape, a mart that is new, one that ends, and publications that change nothing."""
    monkeypatch.setenv("KKBC_PUBLICATIONS_KEPT", "100")
    get_settings.cache_clear()
    states: dict[int, Any] = {}

    def published() -> None:
        number = publish().publication_id
        states[number] = contents()

    published()

    change("update next.kpi_x set rate = rate / 3 where rate is not null", "delete from next.fct_y where token = 'a'")
    published()
    published()  # nothing changed
    change("alter table next.kpi_x add column menunggak bigint", "update next.kpi_x set menunggak = aktif")
    published()
    change("update next.kpi_x set menunggak = null", "insert into next.fct_y values ('c', 1.50)")
    published()
    change("create table next.dim_b (branch_id text not null)", "insert into next.dim_b values ('KC001'), ('KC002')")
    publishes(monkeypatch, WITH_FOREIGN_KEY, MODELS[1], BRANCHES)
    published()
    publishes(monkeypatch, WITH_FOREIGN_KEY, BRANCHES)
    published()
    assert len({str(state) for state in states.values()}) == len(states) - 1
    before = list(states)
    for target in random.Random(5).choices(before, k=12):
        if contents() == states[target]:
            continue
        rollback = undo(target)
        assert contents() == states[target]
        assert read("bi", "select publication_id, restores from bi.publication") == [(rollback.publication_id, target)]


def test_without_a_number_it_goes_back_one_step_at_a_time(marts: None) -> None:
    states: dict[int, Any] = {}
    for aktif in (1, 2, 3):
        change(f"update next.kpi_x set aktif = {aktif}")
        number = publish().publication_id
        states[number] = contents()
    first, second, third = states
    assert undo().restores == second
    assert undo().restores == first
    with pytest.raises(UserError, match=f"there is no publication before {first}"):
        undo()
    back = undo(third)
    assert back.restores == third
    assert contents() == states[third]
    # A rollback is a publication, which can be gone back to as well: it is what it restored.
    assert undo(second).restores == second


def test_a_rollback_is_on_record(marts: None) -> None:
    first = publish().publication_id
    change("update next.kpi_x set aktif = 99")
    publish()
    done = undo(first, why="targets loaded twice")
    assert done.tables["bi.kpi_x"] == {"deleted": 3, "inserted": 3}
    assert done.tables["bi_detail.fct_y"] == {"deleted": 0, "inserted": 0}
    recorded = "select restores, why, done_by, build_id, as_of from ops.publication order by publication_id"
    builds = read("publisher", "select build_id from ops.publication where publication_id = 1")
    assert read("publisher", recorded)[-1] == (first, "targets loaded twice", "tester", builds[0][0], DAY)


def test_what_is_asked_for_once_is_done_once(marts: None) -> None:
    for aktif in (1, 2, 3):
        change(f"update next.kpi_x set aktif = {aktif}")
        publish()
    done = undo(request="task of the night")
    assert undo(request="task of the night") == done
    assert done.restores == 2
    assert read("bi", "select distinct aktif from bi.kpi_x") == [(2,)]


def test_the_next_night_publishes_its_own_state_again(marts: None) -> None:
    first = publish().publication_id
    change("update next.kpi_x set aktif = 99 where branch_id = 'KC001'", "alter table next.fct_y add column x int")
    publish()
    wanted = contents()
    undo(first)
    publish()
    assert contents() == wanted
    assert read("bi", "select restores from bi.publication") == [(None,)]


def test_only_the_last_publications_are_kept(marts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_PUBLICATIONS_KEPT", "2")
    get_settings.cache_clear()
    for aktif in range(5):
        change(f"update next.kpi_x set aktif = {aktif}")
        publish()
    assert len(kept()) == 4
    with pytest.raises(UserError, match="publication 2 is no longer kept: what publication 3 changed is forgotten"):
        undo(2)
    undo(3)
    assert read("bi", "select distinct aktif from bi.kpi_x") == [(2,)]


def test_a_quiet_publication_keeps_nothing(marts: None) -> None:
    publish()
    before = kept()
    publish()
    assert kept() == before


def test_keys_come_back_with_a_table(marts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    publishes(monkeypatch, WITH_FOREIGN_KEY, BRANCHES)
    change("create table next.dim_b (branch_id text not null)", "insert into next.dim_b values ('KC001'), ('KC002')")
    publish()
    before = constraints("bi.kpi_x"), constraints("bi.dim_b")
    change("alter table next.dim_b add column tier int")
    publish()
    assert (constraints("bi.kpi_x"), constraints("bi.dim_b")) == before
    undo()
    assert (constraints("bi.kpi_x"), constraints("bi.dim_b")) == before
    with pytest.raises(psycopg.errors.ForeignKeyViolation), connect("publisher") as conn:
        conn.execute("insert into bi.kpi_x values ('KC009', '2023-12-11', 1, null)")


def by_another_hand(statement: str) -> None:
    with connect("publisher") as conn:
        conn.execute(statement)  # type: ignore[arg-type]


def test_a_table_is_never_restored_to_what_it_was_not(marts: None) -> None:
    publish()
    change("update next.kpi_x set aktif = 99")
    publish()
    by_another_hand("insert into bi.kpi_x values ('KC003', '2023-12-11', 1, null)")
    before = contents()
    with pytest.raises(UserError, match=r"bi\.kpi_x would not be what publication 1 was: changed by another hand"):
        undo()
    assert contents() == before


def test_rows_of_which_it_is_known_what_they_were_come_back_whatever_became_of_them(marts: None) -> None:
    publish()
    before = contents()
    change("update next.kpi_x set aktif = 99")
    publish()
    by_another_hand("update bi.kpi_x set aktif = 100 where branch_id = 'KC001'")
    by_another_hand("delete from bi.kpi_x where branch_id = 'KC002'")
    undo()
    assert contents() == before


def test_what_cannot_be_rolled_back_is_said_in_one_line(marts: None) -> None:
    with pytest.raises(UserError, match="nothing is published yet"):
        undo()
    publish()
    for to, why, line in (
        (None, "x", "there is no publication before 1"),
        (1, "x", "publication 1 is what readers see"),
        (7, "x", "publication 7 is not known"),
        (1, " ", "a rollback needs a reason"),
    ):
        with pytest.raises(UserError, match=line) as caught:
            undo(to, why)
        assert "\n" not in str(caught.value)


def test_a_build_under_way_is_waited_for(marts: None) -> None:
    publish()
    change("update next.kpi_x set aktif = 99")
    publish()
    waited = []
    with connect("transformer") as builder:
        locks.take(builder, Lock.PUBLISH)

        def wait() -> None:
            waited.append(read("bi", "select distinct aktif from bi.kpi_x"))
            builder.rollback()

        undo(wait=wait)
    assert waited == [[(99,)]]


def test_two_that_mean_the_same_night_take_back_one(marts: None) -> None:
    for aktif in (1, 2, 3):
        change(f"update next.kpi_x set aktif = {aktif}")
        publish()
    with connect("transformer") as builder:
        locks.take(builder, Lock.PUBLISH)

        def wait() -> None:
            # Another one was faster.
            builder.rollback()
            undo()

        with pytest.raises(UserError, match="publication 2 is what readers see"):
            undo(wait=wait)
    assert read("bi", "select distinct aktif from bi.kpi_x") == [(2,)]


def test_nothing_is_left_of_a_rollback_that_does_not_commit(marts: None) -> None:
    publish()
    change("update next.kpi_x set aktif = 99")
    publish()
    before, tables = contents(), kept()
    with connect("publisher") as conn:
        assert roll_back(conn, why="wrong figures", who="tester").restores == 1
        conn.rollback()
    assert contents() == before
    assert kept() == tables


def test_totals_before_and_after_are_kept(marts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    publishes(monkeypatch, PublishedModel("kpi_branch_daily", "bi", ("branch_id", "business_date")))
    change(
        "create table next.kpi_branch_daily (branch_id text not null, business_date date not null,"
        " registrations bigint, aktif bigint)",
        "insert into next.kpi_branch_daily values ('KC001', '2023-11-30', 1, 10), ('KC001', '2023-12-10', 2, 11),"
        " ('KC001', '2023-12-11', 3, 12), ('KC002', '2023-12-11', 4, 20)",
    )
    publish()
    change("update next.kpi_branch_daily set registrations = 9, aktif = 7 where business_date = '2023-12-10'")
    publish()
    change("update next.kpi_branch_daily set aktif = 13 where business_date = '2023-12-11' and branch_id = 'KC001'")
    publish()
    undo()
    found = read(
        "auditor",
        "select publication_id, branch_id, month::text, metric, before::int, after::int from ops.publication_diff"
        " order by 1, 2, 3, 4",
    )
    assert found[:6] == [
        (1, "KC001", "2023-11-01", "aktif", None, 10),
        (1, "KC001", "2023-11-01", "registrations", None, 1),
        (1, "KC001", "2023-12-01", "aktif", None, 12),
        (1, "KC001", "2023-12-01", "registrations", None, 5),
        (1, "KC002", "2023-12-01", "aktif", None, 20),
        (1, "KC002", "2023-12-01", "registrations", None, 4),
    ]
    assert found[6:] == [
        (2, "KC001", "2023-12-01", "registrations", 5, 12),
        (3, "KC001", "2023-12-01", "aktif", 12, 13),
        (4, "KC001", "2023-12-01", "aktif", 13, 12),
    ]


def test_what_is_live_names_its_slices_and_its_audit(marts: None) -> None:
    with connect("loader") as conn:
        conn.execute(
            "insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256) values"
            " ('iuran', 'KC001', '2023-12-11', 1, 'loaded', 'x'), ('iuran', 'KC002', '2023-12-11', 1, 'loaded', 'x'),"
            " ('iuran', 'KC003', '2023-12-12', 1, 'loaded', 'x')"
        )
    with connect() as conn:
        build_id = open_build()
        conn.execute("update ops.slice set build_id = %s where branch_id <> 'KC002'", [build_id])
        conn.execute(
            "insert into ops.expectation_result (build_id, checkpoint, suite, expectation, severity, success) values"
            " (%(build)s, 'built_marts', 'kpi_x', 'unique', 'fail', true),"
            " (%(build)s, 'built_marts', 'kpi_x', 'bounds', 'warn', false)",
            {"build": build_id},
        )
    with connect("publisher") as conn:
        publish_marts(conn, build_id=build_id, as_of=DAY)
    assert read("bi", "select slices, expectations, expectations_not_met from bi.publication") == [(1, 2, 1)]
    # Neither the one that no build has taken yet nor the one of a later day.
    assert read("bi", "select branch_id, revision from bi.publication_slice") == [("KC001", 1)]
    assert read("bi", "select severity, expectations, not_met from bi.publication_audit order by 1") == [
        ("fail", 1, 0),
        ("warn", 1, 1),
    ]
    stamps = read("bi", "select table_name, publication_id, rows from bi.publication_table order by 1")
    assert stamps == [("fct_y", 1, 2), ("kpi_x", 1, 3), ("publication_slice", 1, 1)]
