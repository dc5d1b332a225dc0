"""The published list of slices is what a comparison of all of it would make it, whatever became of slices."""

import random
from datetime import date, timedelta
from typing import Any

import pytest

from kkbc.publishing import publish, publish_marts, totals
from kkbc.publishing.record import live, states
from kkbc.publishing.swap import measure
from kkbc.publishing.work import Work
from kkbc.slices import record
from kkbc.warehouse import connect

from .conftest import DAY, read, undo

LIST = ("bi", "publication_slice")
BRANCHES = ("KC001", "KC002", "KC003")
PLACE = "feed = 'iuran' and branch_id = %(branch)s and business_date = %(day)s"
IN_FORCE = f"{PLACE} and status = 'loaded'"

# What becomes of slices between publications, each as `kkbc.slices.record` writes it.
COLUMNS = (
    "feed, branch_id, business_date, revision, status, manifest_sha256, manifest_rows, rows_sent, rows_accepted,"
    " rows_quarantined"
)
NEXT_REVISION = f"(select coalesce(max(revision), 0) + 1 from ops.slice where {PLACE})"
COMES = (
    f"insert into ops.slice ({COLUMNS}) select 'iuran', %(branch)s, %(day)s, {NEXT_REVISION}, 'loaded', 'x', %(n)s,"
    f" %(n)s, %(n)s, 0"
)
CHANGES = {
    "comes": f"{COMES} where not exists (select from ops.slice where {IN_FORCE})",
    "is revised": (
        f"with gone as (update ops.slice set status = 'superseded' where {IN_FORCE} returning 1) {COMES} from gone"
    ),
    "is read again": (
        "update ops.slice set rows_sent = %(n)s + 1, rows_accepted = %(n)s, rows_quarantined = 1, build_id = null"
        f" where {IN_FORCE}"
    ),
    "gets rows back": (
        "update ops.slice set rows_sent = rows_sent + 1, rows_accepted = rows_accepted + 1, build_id = null"
        f" where {IN_FORCE}"
    ),
}


def become(kind: str, branch: str, day: date, n: int = 5) -> None:
    """Lets something become of the slice of a branch and day."""
    with connect() as conn:
        conn.execute(CHANGES[kind], {"branch": branch, "day": day, "n": n})


def build(as_of: date) -> int:
    """A build that takes in what came."""
    with connect("transformer") as conn:
        ((build_id,),) = conn.execute(
            "insert into ops.build (as_of, first_business_date) values (%s, %s) returning build_id", [as_of, DAY]
        ).fetchall()
        record.claim(conn, build_id)
    return int(build_id)


def hold(build_id: int, branch: str) -> None:
    """The gate holds what is new of a branch."""
    with connect() as conn:
        conn.execute(
            "update ops.slice set status = 'held' where branch_id = %s and build_id = %s and status = 'loaded'",
            [branch, build_id],
        )


def publish_built(build_id: int, as_of: date) -> None:
    """Publishes, and finds the list to be what the view says, and what is on record of it."""
    with connect("publisher") as conn:
        publish_marts(conn, build_id=build_id, as_of=as_of)
    columns = "feed, branch_id, business_date, revision, rows_accepted, rows_quarantined"
    listed, wanted = (
        read("publisher", f"select {columns} from {table} order by 1, 2, 3")
        for table in ("bi.publication_slice", "ops.slices_built")
    )
    assert listed == wanted
    with connect("publisher") as conn:
        work = Work(conn)
        assert measure(work, *LIST) == states(work, live(work))[LIST]


@pytest.fixture
def by_places(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each publication whether the list is compared at the places alone that may differ."""
    seen: list[bool] = []
    take_noted = publish.take_noted

    def noted(*arguments: Any) -> Any:
        found = take_noted(*arguments)
        seen.append(LIST in found)
        return found

    monkeypatch.setattr(publish, "take_noted", noted)
    return seen


@pytest.mark.parametrize("seed", range(6))
def test_after_any_history_the_list_is_that_of_the_slices_built(marts: None, by_places: list[bool], seed: int) -> None:
    chance = random.Random(seed)
    as_of = DAY
    for _ in range(12):
        for _ in range(chance.randrange(6)):
            day = as_of - timedelta(days=chance.randrange(-2, 4))
            become(chance.choice(list(CHANGES)), chance.choice(BRANCHES), day, chance.randrange(100))
        as_of += timedelta(days=chance.choice((0, 1, 1, 1, -1)))
        build_id = build(as_of)
        if chance.random() < 0.2:
            hold(build_id, chance.choice(BRANCHES))
        if chance.random() < 0.2:
            continue  # the build is not published
        if chance.random() < 0.3:
            # For the next build; of this one the list then has what is left.
            day = as_of - timedelta(days=chance.randrange(4))
            become(chance.choice(list(CHANGES)), chance.choice(BRANCHES), day)
        publish_built(build_id, as_of)
    assert by_places == [False, *([True] * (len(by_places) - 1))]
    assert len(by_places) > 5


def test_after_a_rollback_and_another_shape_all_of_the_list_is_compared(marts: None, by_places: list[bool]) -> None:
    become("comes", "KC001", DAY)
    publish_built(build(DAY), DAY)
    become("is revised", "KC001", DAY, 9)
    publish_built(build(DAY), DAY)
    undo()
    publish_built(build(DAY), DAY)
    with connect() as conn:
        # By hand, which no publication hears of.
        conn.execute("update ops.slice set rows_quarantined = 7, rows_sent = rows_accepted + 7")
        conn.execute("alter table bi.publication_slice alter rows_accepted type bigint using rows_accepted + 1")
        conn.execute("alter table bi.publication_slice alter rows_accepted type integer")
    publish_built(build(DAY), DAY)
    assert by_places == [False, True, False, False]


def test_totals_are_compared_in_the_months_that_changed_alone(marts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MART", "kpi_x")
    publish_built(build(DAY), DAY)
    with connect("transformer") as conn:
        conn.execute("update next.kpi_x set aktif = 50 where branch_id = 'KC002'")
        conn.execute("insert into next.kpi_x values ('KC001', '2024-01-02', 8, null), ('KC001', '2023-12-12', 9, null)")
    publish_built(build(DAY), DAY)
    assert read(
        "publisher",
        "select branch_id, month::text, metric, before, after from ops.publication_diff"
        " where publication_id = (select max(publication_id) from ops.publication) order by 1, 2",
    ) == [
        ("KC001", "2023-12-01", "aktif", 7, 9),
        ("KC001", "2024-01-01", "aktif", None, 8),
        ("KC002", "2023-12-01", "aktif", 5, 50),
    ]
