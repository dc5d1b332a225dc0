"""Several pulls at the same time: every slice is loaded once, and the warehouse is that of one pull alone."""

import time
from typing import Any

import psycopg
import pytest

from .stage import BRANCHES, Home, Victims, assert_killed, trap

# A row for every load that was committed, and a count of every row that was ever inserted, rolled back ones too.
COUNTERS = """
create table public.loads (feed text, branch_id text, business_date date, revision integer, load_id bigint);
create sequence public.inserted;
create function public.note_load() returns trigger language plpgsql security definer as $$
begin
    if new.load_id is not null and (tg_op = 'INSERT' or new.load_id is distinct from old.load_id) then
        insert into public.loads values (new.feed, new.branch_id, new.business_date, new.revision, new.load_id);
    end if;
    return new;
end $$;
create trigger note_load after insert or update on ops.slice for each row execute function public.note_load();
create function public.count_insert() returns trigger language plpgsql security definer as $$
begin
    perform nextval('public.inserted');
    return new;
end $$;
create trigger count_insert after insert on raw.registrations for each row execute function public.count_insert();
create trigger count_insert after insert on raw.contributions for each row execute function public.count_insert();
"""


@pytest.fixture
def counting(home: Home) -> Home:
    """A home whose warehouse counts what is loaded."""
    with psycopg.connect(home.database) as conn:
        conn.execute(COUNTERS)  # type: ignore[arg-type]
    return home


def loads(home: Home) -> tuple[list[Any], int]:
    """How often each slice was loaded, and how many rows were inserted into raw."""
    counted = home.query(
        "select feed, branch_id, business_date, revision, count(*) from public.loads group by 1, 2, 3, 4"
    )
    ((inserted,),) = home.query("select last_value from public.inserted")
    return sorted(counted), inserted


@pytest.fixture(scope="module")
def once(undisturbed: dict[str, Any]) -> int:
    """Rows that one pull inserts into registrations and contributions: those in force, and those of two revisions
    that it replaces (97 registrations, 20 contributions: see make_deliveries)."""
    in_force = sum(int(undisturbed[f"raw.{name}"].split()[0]) for name in ("registrations", "contributions"))
    return in_force + 97 + 20


@pytest.mark.parametrize("pulls", [2, 4])
def test_pulls_at_the_same_time(
    pulls: int, victims: Victims, counting: Home, undisturbed: dict[str, Any], once: int
) -> None:
    pids = [victims.start(counting, "pull", *counting.pull_arguments()) for _ in range(pulls)]
    assert [victims.wait(pid) for pid in pids] == [0] * pulls, counting.log.read_text()
    assert counting.pulled() == undisturbed
    times, inserted = loads(counting)
    assert {count for *_, count in times} == {1}
    assert len(times) == len(counting.query("select from ops.slice where status <> 'rejected'"))
    assert inserted == once


def test_pulls_at_the_same_time_one_of_them_killed(
    victims: Victims, counting: Home, undisturbed: dict[str, Any]
) -> None:
    """One dies in the middle of a COPY; the other takes the branch over, or the next pull does."""
    traps = (trap("kkbc.slices.rows:copy_frame", "before", 3, "raw"), trap("psycopg:Copy.write", "half"))
    pids = [
        victims.start(counting, "pull", *counting.pull_arguments(), traps=traps),
        victims.start(counting, "pull", *counting.pull_arguments(tuple(reversed(BRANCHES)))),
    ]
    ended = [victims.wait(pid) for pid in pids]
    assert ended[1] == 0, counting.log.read_text()
    assert ended[0] in (0, -9)  # it comes to the point unless the other one has loaded everything before
    assert victims.run(counting, "pull", *counting.pull_arguments()) == 0
    assert counting.pulled() == undisturbed
    assert {count for *_, count in loads(counting)[0]} == {1}


def test_a_manifest_seen_again_is_no_work(victims: Victims, counting: Home) -> None:
    """Neither row nor file is written again: not even with the same content."""
    assert victims.run(counting, "pull", *counting.pull_arguments()) == 0
    rows = "select 'r', xmin::text, _line from raw.registrations union all select 's', xmin::text, 0 from ops.slice"
    before = sorted(counting.query(rows))
    written = {path: path.stat().st_mtime_ns for path in counting.landing.rglob("rows/*")}
    loaded = loads(counting)
    assert victims.run(counting, "pull", *counting.pull_arguments()) == 0
    assert sorted(row for row in counting.query(rows) if row[0] == "r") == [row for row in before if row[0] == "r"]
    assert {path: path.stat().st_mtime_ns for path in counting.landing.rglob("rows/*")} == written
    assert loads(counting) == loaded


def test_the_session_of_a_killed_worker_holds_nobody_up(
    victims: Victims, home: Home, undisturbed: dict[str, Any]
) -> None:
    """A worker is killed while its session waits for the end of a build. The pull that follows does the work."""
    with psycopg.connect(home.database) as build:
        build.execute("lock table locks.build in exclusive mode")
        pid = victims.start(home, "pull", *home.pull_arguments())
        wait_for_locks(home, 1)
        victims.kill(pid)
        assert_killed(victims.wait(pid))
        pid = victims.start(home, "pull", *home.pull_arguments())
        # The killed worker's session is gone, and the new one waits in its place.
        wait_for_locks(home, 1, "and query_start > now() - interval '1 second'")
    assert victims.wait(pid) == 0, home.log.read_text()
    assert home.pulled() == undisturbed


def wait_for_locks(home: Home, number: int, more: str = "") -> None:
    """Waits until so many sessions wait for the lock that a build holds."""
    statement = (
        "select from pg_stat_activity where datname = current_database() and wait_event = 'relation'"
        f" and query like '%lock table locks.build in share mode%' {more}"
    )
    until = time.monotonic() + 30
    while len(home.query(statement)) != number:
        assert time.monotonic() < until, home.query("select pid, wait_event, query from pg_stat_activity")
        time.sleep(0.02)
