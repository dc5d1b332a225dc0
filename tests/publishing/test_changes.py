"""Publication by the keys that were noted is what a comparison of whole tables would be, whatever was built."""

import random
from collections.abc import Collection
from contextlib import suppress

import psycopg
import pytest

from kkbc.core.errors import UserError
from kkbc.marts import models
from kkbc.publishing import PublishedModel, foresee, publish, publish_marts
from kkbc.publishing.record import live, states
from kkbc.publishing.swap import measure
from kkbc.publishing.work import Work
from kkbc.warehouse import connect

from .conftest import DAY, MODELS, change, contents, open_build, publishes, read, undo
from .conftest import publish as publish_built

KEYED = PublishedModel("fct_k", "bi_detail", ("at", "n", "code"))
KPI, FACTS = ("bi", "kpi_x"), ("bi_detail", "fct_y")
# No table of dbt: see test_slices_published.
SLICES = ("bi", "publication_slice")


@pytest.fixture
def by_keys(monkeypatch: pytest.MonkeyPatch) -> list[set[tuple[str, str]]]:
    """Of each publication the tables that are compared by their keys alone."""
    seen: list[set[tuple[str, str]]] = []
    take_noted = publish.take_noted

    def noted(*arguments: object) -> object:
        found = take_noted(*arguments)  # type: ignore[arg-type]
        seen.append(set(found) - {SLICES})
        return found

    monkeypatch.setattr(publish, "take_noted", noted)
    return seen


def whole_comparison() -> dict[str, dict[str, int]]:
    """What a comparison of all rows finds to do, by table: a preview goes by no keys."""
    with connect() as conn:
        conn.execute(
            "insert into ops.built (complete, as_of, first_business_date, project, registry, build_id)"
            " values (true, %s, %s, '', '', %s) on conflict (single) do nothing",
            [DAY, DAY, open_build()],
        )
        conn.execute("update ops.built set build_id = (select max(build_id) from ops.build)")
    with connect("publisher") as conn:
        return foresee(conn).tables


def check() -> None:
    """Readers see what is in the hidden schema, to the row, and what is on record of it is true."""
    assert differing() == []
    with connect("publisher") as conn:
        work = Work(conn)
        for table, state in states(work, live(work)).items():
            assert measure(work, *table) == state, table


def differing() -> list[str]:
    """Published tables that are not what is in the hidden schema."""
    with connect() as conn:
        return [
            model.table
            for model in models.published_models()
            if conn.execute(
                f"select 1 from ((table next.{model.name} except all table {model.table})"  # type: ignore[arg-type]
                f" union all (table {model.table} except all table next.{model.name})) odd limit 1"
            ).fetchone()
        ]


# ---------------------------------------------------------------------------------------------------------------------
# Random histories
# ---------------------------------------------------------------------------------------------------------------------
MADE = (
    "create table next.fct_k (at timestamptz not null, n bigint not null, code text not null, amount numeric,"
    " primary key (at, n, code))"
)
ROW = (
    "'2023-12-11 00:00:00.000001+07'::timestamptz + {n} % 5 * interval '0.1 s', {n}, E'a\"b,\\\\' || chr(233 + {n} % 3)"
)
SOME = "generate_series({n}, {n} + 9) g"
# What a build does to a table, in place of {n} numbers by chance.
CHANGES = (
    f"insert into next.fct_k select {ROW.format(n='g')}, g from {SOME} on conflict do nothing",
    f"insert into next.fct_k select {ROW.format(n='g')}, {{n}} from {SOME}"
    " on conflict (at, n, code) do update set amount = excluded.amount",
    "update next.fct_k set amount = amount / 3 where n % 7 = {n} % 7",
    "update next.fct_k set amount = null where n = {n}",
    "update next.fct_k set amount = amount where n > {n}",
    "update next.fct_k set n = n + 100 where n % 11 = {n} % 11",
    "delete from next.fct_k where n % 3 = {n} % 3",
    "with gone as (delete from next.fct_k where n < {n} returning *) insert into next.fct_k table gone",
    "merge into next.fct_k t using (select {n} as n) s on t.n = s.n"
    " when matched and t.amount is null then delete when matched then update set amount = 1",
    "update next.kpi_x set aktif = aktif + {n} where branch_id = 'KC001'",
    "delete from next.fct_y where token = 'b'; insert into next.fct_y values ('b', {n})",
)
# What leaves nothing noted: rewritten, emptied, made anew, of another shape and back.
REBUILDS = (
    "truncate next.fct_k",
    "alter table next.fct_k alter column amount type numeric using amount + {n}",
    "alter table next.fct_k drop column amount, add column amount numeric default {n}",
    "create table next.again (like next.fct_k including all); insert into next.again table next.fct_k;"
    " update next.again set amount = {n} where n % 5 = 1; drop table next.fct_k;"
    " alter table next.again rename to fct_k",
    "alter table next.fct_k disable trigger user; update next.fct_k set amount = {n} where n % 2 = 0;"
    " alter table next.fct_k enable trigger user",
)


STEPS = ("build", "broken build", "rebuild", "publish", "broken publication", "rollback")


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history_readers_see_what_was_built(
    marts: None, monkeypatch: pytest.MonkeyPatch, by_keys: list[set[tuple[str, str]]], seed: int
) -> None:
    """Several builds to a publication, publications that break off, rollbacks, full refreshes, in any order."""
    publishes(monkeypatch, *MODELS, KEYED)
    change(MADE)
    chance = random.Random(seed)
    publications = []
    for _ in range(40):
        (kind,) = chance.choices(STEPS, (8, 2, 2, 6, 2, 2))
        statement = chance.choice(REBUILDS if kind == "rebuild" else CHANGES).format(n=chance.randint(0, 60))
        if kind in ("build", "rebuild"):
            with suppress(psycopg.errors.UniqueViolation):
                change(statement)
        elif kind == "broken build":
            with connect("transformer") as conn:
                conn.execute(statement)
                conn.rollback()
        elif kind == "broken publication":
            with connect("publisher") as conn:
                publish_marts(conn, build_id=open_build(), as_of=DAY)
                conn.rollback()
        elif kind == "rollback" and len(publications) > 1:
            with suppress(UserError):  # of one that is live, or no longer kept
                undo(chance.choice(publications[-5:]))
        elif kind == "publish":
            foreseen = whole_comparison()
            done = publish_built()
            publications.append(done.publication_id)
            assert done.tables == foreseen
            check()
    assert any(("bi_detail", "fct_k") in tables for tables in by_keys)
    assert any(("bi_detail", "fct_k") not in tables for tables in by_keys[1:])


# ---------------------------------------------------------------------------------------------------------------------
# When keys are gone by
# ---------------------------------------------------------------------------------------------------------------------
def test_a_key_that_is_not_noted_is_missed_and_seen_by_the_checks_above(
    marts: None, by_keys: list[set[tuple[str, str]]]
) -> None:
    """So the histories above would fail, should the triggers or a publication miss a key."""
    publish_built()
    change("update next.kpi_x set aktif = aktif + 1")
    with connect() as conn:
        conn.execute("delete from bi_kept.changed_key where key->>'branch_id' = 'KC002'")
    assert whole_comparison()["bi.kpi_x"] == {"deleted": 3, "inserted": 3}
    assert publish_built().tables["bi.kpi_x"] == {"deleted": 2, "inserted": 2}
    assert KPI in by_keys[-1]
    assert differing() == ["bi.kpi_x"]
    with pytest.raises(AssertionError):
        check()


def test_what_was_noted_is_taken_by_the_publication_that_commits(
    marts: None, by_keys: list[set[tuple[str, str]]]
) -> None:
    publish_built()
    change("update next.kpi_x set aktif = 99 where branch_id = 'KC002'")
    change("delete from next.kpi_x where branch_id = 'KC002'")
    with connect("publisher") as conn:
        publish_marts(conn, build_id=open_build(), as_of=DAY)
        conn.rollback()
    assert noted() == 3
    assert publish_built().tables["bi.kpi_x"] == {"deleted": 1, "inserted": 0}
    assert noted() == 0
    assert by_keys == [set(), {KPI, FACTS}, {KPI, FACTS}]
    check()


def noted() -> int:
    """How many keys wait for a publication."""
    return int(read("publisher", "select count(*) from bi_kept.changed_key")[0][0])


def test_what_is_changed_while_a_publication_is_under_way_is_published_by_the_next(
    marts: None, by_keys: list[set[tuple[str, str]]]
) -> None:
    publish_built()
    change("update next.kpi_x set aktif = 1 where branch_id = 'KC002'")
    with connect("publisher") as conn:
        publish_marts(conn, build_id=open_build(), as_of=DAY)
        change("update next.kpi_x set aktif = 2", "delete from next.fct_y where token = 'a'")
    assert read("bi", "select aktif from bi.kpi_x where branch_id = 'KC002'") == [(1,)]
    publish_built()
    assert by_keys[1:] == [{KPI, FACTS}, {KPI, FACTS}]
    check()


def test_the_publication_after_a_rollback_compares_all(marts: None, by_keys: list[set[tuple[str, str]]]) -> None:
    publish_built()
    change("update next.kpi_x set aktif = 99")
    publish_built()
    before = contents()
    undo()
    publish_built()
    assert contents() == before
    publish_built()
    assert by_keys == [set(), {KPI, FACTS}, set(), {KPI, FACTS}]


OTHER_TABLES: dict[str, Collection[str]] = {
    "made anew": (
        "create table next.again as table next.kpi_x",
        "alter table next.again alter branch_id set not null, alter business_date set not null,"
        " alter aktif set not null",
        "drop table next.kpi_x",
        "alter table next.again rename to kpi_x",
        "update next.kpi_x set aktif = 99",
    ),
    "rewritten": ("alter table next.kpi_x alter aktif type bigint using aktif + 1",),
    "emptied": ("truncate next.kpi_x",),
    "with a column that went and came": (
        "alter table next.kpi_x drop column rate, add column rate double precision default 0.7",
    ),
    "whose triggers were off": (
        "alter table next.kpi_x disable trigger user",
        "update next.kpi_x set aktif = 99",
        "alter table next.kpi_x enable trigger user",
    ),
    "without a trigger": (
        "drop trigger keys_noted_on_update on next.kpi_x",
        "update next.kpi_x set aktif = 99",
    ),
    "that may be gone after a crash": ("alter table next.kpi_x set unlogged",),
}


@pytest.mark.parametrize("statements", OTHER_TABLES.values(), ids=OTHER_TABLES)
def test_a_table_is_compared_whole(
    marts: None, by_keys: list[set[tuple[str, str]]], statements: Collection[str]
) -> None:
    publish_built()
    change(*statements)
    publish_built()
    assert by_keys[-1] == {FACTS}
    check()


def test_a_key_that_may_be_null_is_looked_for_in_all_rows(marts: None, by_keys: list[set[tuple[str, str]]]) -> None:
    publish_built()
    change(
        "alter table next.kpi_x alter branch_id drop not null", "insert into next.kpi_x values (null, '2023-12-11', 1)"
    )
    with pytest.raises(UserError, match=r"rows of next\.kpi_x lack a part of their key \(branch_id, business_date\)"):
        publish_built()
    assert by_keys[-1] == {FACTS}


@pytest.mark.parametrize("whole", [False, True])
def test_a_key_that_is_there_twice_is_not_published(
    marts: None, by_keys: list[set[tuple[str, str]]], whole: bool
) -> None:
    publish_built()
    if whole:
        forget_what_was_left_equal()
    change("insert into next.kpi_x select branch_id, business_date, 99 from next.kpi_x where branch_id = 'KC002'")
    with pytest.raises(psycopg.errors.UniqueViolation):
        publish_built()
    change("update next.kpi_x set aktif = aktif + 1")
    with pytest.raises(psycopg.errors.UniqueViolation):
        publish_built()
    assert by_keys[-1] == (set() if whole else {KPI, FACTS})


def forget_what_was_left_equal() -> None:
    """As after an upgrade: of what was published before it is not known what the hidden tables were then."""
    with connect() as conn:
        conn.execute("update ops.publication_table set pair = null")


def test_another_key_is_noted_from_then_on(
    marts: None, monkeypatch: pytest.MonkeyPatch, by_keys: list[set[tuple[str, str]]]
) -> None:
    publish_built()
    publishes(monkeypatch, PublishedModel("kpi_x", "bi", ("business_date", "branch_id")), MODELS[1])
    change("update next.kpi_x set aktif = 99")
    publish_built()
    check()
    change("update next.kpi_x set aktif = 98")
    publish_built()
    check()
    assert by_keys == [set(), {FACTS}, {KPI, FACTS}]


@pytest.mark.parametrize("relation", ["bi.kpi_x", "ops.slice", "next.seen"])
def test_only_hidden_tables_are_followed(marts: None, relation: str) -> None:
    publish_built()
    change("create view next.seen as table next.kpi_x")
    with connect("publisher") as conn:
        conn.execute("select ops.follow_changes(to_regclass(%s), array['x'])", [relation])
        found = conn.execute(
            "select tgname from pg_trigger where tgrelid = to_regclass(%s) and not tgisinternal", [relation]
        )
        assert found.fetchall() == []
    with connect("transformer") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("select ops.follow_changes('next.kpi_x', array['x'])")


def test_the_builder_reads_no_keys_and_writes_none_but_by_changes(marts: None) -> None:
    publish_built()
    change("update next.kpi_x set aktif = 99")
    for statement in ("table bi_kept.changed_key", "delete from bi_kept.changed_key"):
        with connect("transformer") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement)  # type: ignore[arg-type]


def test_the_first_publication_after_an_upgrade_compares_all(marts: None, by_keys: list[set[tuple[str, str]]]) -> None:
    publish_built()
    forget_what_was_left_equal()
    change("update next.kpi_x set aktif = 99")
    publish_built()
    assert by_keys[-1] == set()
    check()
