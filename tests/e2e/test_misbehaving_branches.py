"""Branches that misbehave, through their real servers: the others never wait for them, and nothing is lost or twice."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc import nights
from kkbc.core import tokens
from kkbc.core.errors import BranchTimeout, BranchUnavailable
from kkbc.core.settings import get_settings
from kkbc.exchange.registry import load_registry
from kkbc.nights import RunRequest
from kkbc.warehouse import connect
from kkbc_play.simulator import Scale, World, misbehaviour
from kkbc_play.stack import branches

pytestmark = pytest.mark.e2e

FIRST = date(2023, 12, 11)
SCALE = Scale(registrations=800, contributions=1500, opening=800, rejected=0, absent=0, omitted=0)
Slice = tuple[str, str, str]


@pytest.fixture
def played(warehouse: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world being served, with a registry of its first four branches of each kind."""
    tokens.ensure_key(home)
    world = World(home / "world", seed=11, scale=SCALE, first_date=FIRST, ways="mix")
    world.begin()
    chosen = [b for kind in ("file", "sftp", "s3", "http", "postgres") for b in of(world, kind)]
    registry = home / "branches.yml"
    registry.write_text("branches:\n" + "".join(f"  - {{branch_id: {b}}}\n" for b in ["HQ", *chosen]))
    monkeypatch.setenv("KKBC_REGISTRY", str(registry))
    monkeypatch.setenv("KKBC_HISTORY_DAYS", "1")
    get_settings.cache_clear()
    load_registry.cache_clear()
    branches.start(get_settings(), world.folder)
    try:
        yield world
    finally:
        branches.stop(get_settings())
        load_registry.cache_clear()


def of(world: World, kind: str) -> list[str]:
    """Four branches of that kind."""
    return sorted(b for b, k in world.kinds.items() if k == kind and b != "HQ")[:4]


def visit_all(world: World, day: date, run_id: str) -> dict[str, Any]:
    """Every branch once, and those that were out of reach not again; returns the roll-up."""
    ways = branches.ways_after(get_settings(), world.folder, world.nights_played)
    registered = {b: way for b, way in ways.items() if b in ("*", *get_registered())}
    run = nights.open_run(RunRequest(day, world.branches_root, registered, FIRST), mode="plain", run_id=run_id)
    for branch_id in run.branch_ids:
        try:
            nights.pull_branch(run_id, branch_id)
        except (BranchUnavailable, BranchTimeout):
            continue
    return nights.close_pull(run_id)


def get_registered() -> list[str]:
    """The branch offices that are visited."""
    return [branch.branch_id for branch in load_registry().offices]


def loaded() -> dict[Slice, tuple[Any, ...]]:
    """The slices in force or, where there is none, their rejection."""
    with connect() as conn:
        rows = conn.execute(
            "select feed, branch_id, business_date::text, revision, reason, rows_sent, rows_accepted, rows_quarantined"
            " from ops.slice where branch_id <> 'HQ' order by (status <> 'rejected'), revision"
        ).fetchall()
    return {(feed, branch_id, day): tuple(rest) for feed, branch_id, day, *rest in rows}


def truth(world: World, day: date) -> dict[Slice, tuple[Any, ...]]:
    """What the truth says of the registered branches."""
    truth = json.loads((world.folder / "truth" / f"{day}.json").read_text())
    names = ("revision", "reason", "rows_sent", "rows_accepted", "rows_quarantined")
    registered = get_registered()
    return {
        (entry["feed"], entry["branch_id"], entry["business_date"]): tuple(entry[name] for name in names)
        for entry in truth["slices"] + truth["opening_slices"]
        if entry["branch_id"] in registered and entry["status"] != "missing"
    }


def test_misbehaving_branches_fail_alone_and_are_made_up_for_when_they_behave(played: World) -> None:
    world = played
    sftp, s3, http, postgres = (of(world, kind) for kind in ("sftp", "s3", "http", "postgres"))
    down = [sftp[0], s3[0], http[0], postgres[0]]
    patient = {http[1]: "expired", http[2]: "throttled", s3[1]: "throttled"}
    spoiled = [sftp[1], s3[2]]
    cut = [sftp[2], s3[3], http[3], postgres[1]]
    how = {**dict.fromkeys(down, "down"), **patient, **dict.fromkeys(spoiled, "checksum"), **dict.fromkeys(cut, "half")}
    misbehaviour.add(world.folder, [f"{branch_id}={what}" for branch_id, what in how.items()], world.kinds)
    world.play_night()

    outcome = visit_all(world, FIRST, "misbehaving")
    failed = set(outcome["failed"])
    assert set(down) < failed <= {*down, *cut}  # who has no answer of a kilobyte is not cut off
    wanted, found = truth(world, FIRST), loaded()
    assert {key: found[key] for key in found if key[1] not in spoiled}.items() <= wanted.items()
    assert {key for key in wanted if key[1] not in failed} <= found.keys()
    reasons = {key: found[key][1] for key in found if key[1] in spoiled}
    assert {reason for key, reason in reasons.items() if wanted[key][2]} == {"CHECKSUM"}

    (world.folder / misbehaviour.FILE_NAME).unlink()
    assert visit_all(world, FIRST, "healed")["failed"] == {}
    assert loaded() == wanted
    again = visit_all(world, FIRST, "again")
    assert (again["slices_loaded"], again["slices_rejected"], again["failed"]) == (0, 0, {})
    assert loaded() == wanted


def test_branches_that_move_overnight_lose_nothing_and_bring_nothing_twice(played: World) -> None:
    world = played
    moves = {
        of(world, "file")[0]: "http",
        of(world, "sftp")[0]: "s3",
        of(world, "s3")[0]: "postgres",
        of(world, "http")[0]: "sftp",
        of(world, "postgres")[0]: "file",
    }
    revised = [of(world, kind)[1] for kind in ("file", "sftp", "s3", "http", "postgres")]
    misbehaviour.add(world.folder, [f"{branch_id}=revised" for branch_id in revised], world.kinds)
    world.play_night()
    assert visit_all(world, FIRST, "before")["failed"] == {}
    assert loaded() == truth(world, FIRST)
    misbehaviour.add(world.folder, [f"{b}=moved:{kind}" for b, kind in moves.items()], world.kinds)
    for number in (1, 2):
        day = world.play_night().business_date
        assert day == date(2023, 12, 11 + number)
        assert {b: world.kinds[b] for b in moves} == moves
        assert visit_all(world, day, f"after {number}")["failed"] == {}
        assert loaded() == truth(world, day)
    found = loaded()
    assert {found["iuran", branch_id, "2023-12-11"][0] for branch_id in revised} == {2}
    assert {branch_id for _, branch_id, day in found if day == "2023-12-13"} == set(get_registered())
