"""A worker is killed at a named point of a pull. The next pull makes of it what an undisturbed one would have made."""

import random
import time
from typing import Any

import pytest

from .stage import Home, Trap, Victims, assert_killed, assert_landing_is_whole, spool_folder_of, spooled, trap

TAKE = "kkbc.nights.slice_loader:SliceLoader.take"
COPY = "kkbc.slices.rows:copy_frame"
RECORD = "kkbc.slices.record:SliceRecord.save"
PARQUET = "polars:DataFrame.write_parquet"
HALF_A_WRITE = trap("psycopg:Copy.write", "half")

POINTS: dict[str, tuple[Trap, ...]] = {
    "the run is noted, nothing visited": (trap("kkbc.nights.run:open_run", "after"),),
    "the attempt is on record, the branch not locked": (trap("kkbc.nights.visit:open_attempt", "after", 2),),
    "the branch is locked, nothing asked": (trap("kkbc.nights.visit:close_stale_attempts", "after", 2),),
    "the manifest is read, no slice taken": (trap(TAKE, "before", 2),),
    "half a fetch": (trap("source:fetch", "half", 2),),
    "fetched, not landed": (trap("source:fetch", "after", 2),),
    "landed, not read": (trap("kkbc.intake.landing:Landing.land", "after", 2),),
    "between two parts": (trap("kkbc.intake.process:judge_batch", "after", 3),),
    "half a Parquet part": (trap(PARQUET, "half", 4),),
    "half the quarantined rows of a part": (trap(PARQUET, "half", 5),),
    "keys that come twice in several parts, half set aside": (trap("kkbc.intake.parts:Parts.replace", "after", 1),),
    "all parts written, not kept": (trap("kkbc.intake.landing:Landing.keep", "before", 2),),
    "kept, not loaded": (trap("kkbc.intake.landing:Landing.keep", "after", 2),),
    "the slice is locked": (trap("kkbc.slices.loading:lock_slice", "after", 2),),
    "the vault is half loaded": (trap(COPY, "after", 2, "vault"),),
    "in a COPY into the vault": (trap(COPY, "before", 2, "vault"), HALF_A_WRITE),
    "in a COPY into raw": (trap(COPY, "before", 3, "raw"), HALF_A_WRITE),
    "in a COPY into the quarantine": (trap(COPY, "before", 2, "quarantine"), HALF_A_WRITE),
    "rows loaded, slice not on record": (trap(RECORD, "before", 2),),
    "slice on record, quarantine not loaded": (trap(RECORD, "after", 2),),
    "all done, not committed": (trap("kkbc.slices.loading:copy_quarantine", "after", 2),),
    "the commit is sent, its answer not waited for": (
        trap("kkbc.slices.loading:copy_quarantine", "after", 2),
        trap("psycopg:Transaction.__exit__", "half"),
    ),
    "just committed": (
        trap("kkbc.slices.loading:copy_quarantine", "after", 2),
        trap("psycopg:Transaction.__exit__", "after"),
    ),
    "between two slices": (trap(TAKE, "after", 3),),
    "a revision is being taken out": (trap("kkbc.slices.loading:supersede_quarantined", "before"),),
    "a revision is out, the next not in": (trap("kkbc.slices.loading:replace_in_force", "after"),),
    "in a COPY of a revision": (trap("kkbc.slices.loading:replace_in_force", "after"), HALF_A_WRITE),
    "a revision is in, not committed": (
        trap("kkbc.slices.loading:replace_in_force", "after"),
        trap("kkbc.slices.loading:copy_quarantine", "after"),
    ),
    "a rejected slice has landed": (trap("kkbc.nights.slice_loader:reject", "before"),),
    "a slice is rejected": (trap("kkbc.nights.slice_loader:reject", "after"),),
    "a manifest is seen, none of its slices taken": (trap("kkbc.nights.visit:_record_manifest", "after", 2),),
    "all slices loaded, the manifest not remembered": (trap("kkbc.nights.visit:_mark_settled", "before", 2),),
    "the manifest is remembered": (trap("kkbc.nights.visit:_mark_settled", "after", 2),),
    "all loaded, the attempt still open": (trap("kkbc.nights.visit:close_attempt", "before", 2),),
    "the branch is done, the next not begun": (trap("kkbc.nights.branch:pull_branch", "after", 2),),
    "half-way through the roll-up": (trap("kkbc.nights.run:_alert"),),
    "the roll-up is noted": (trap("kkbc.nights.run:close_pull", "after"),),
}


# Places where an earlier attempt left something that the next one works on when it is killed too.
TWICE: dict[str, tuple[tuple[Trap, ...], ...]] = {
    "rows that were kept are half removed": (
        (trap("kkbc.intake.landing:Landing.keep", "after", 2),),
        (trap("shutil:rmtree", "half", 2, "/rows.earlier"),),
    ),
    "rows that were kept are set aside, the new ones not in place": (
        (trap("kkbc.intake.landing:Landing.keep", "after", 2),),
        (trap("pathlib:Path.rename", "after", 1, "KC001"),),
    ),
    "the same slice, once in its parts and once before its commit": (
        (trap(PARQUET, "half", 5),),
        (trap("kkbc.slices.loading:copy_quarantine", "after", 2),),
    ),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    assert_killed(victims.run(home, "pull", *home.pull_arguments(), traps=POINTS[point]))
    assert_landing_is_whole(home)
    assert victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    assert home.pulled() == undisturbed


@pytest.mark.parametrize("points", TWICE)
def test_killed_twice_at(points: str, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    for traps in TWICE[points]:
        assert_killed(victims.run(home, "pull", *home.pull_arguments(), traps=traps))
        assert_landing_is_whole(home)
    assert victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    assert home.pulled() == undisturbed


def test_killed_in_a_move_between_file_systems(victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    """Where spool and landing are on different disks, a file is copied into landing, and may be cut off there."""
    traps = (trap("kkbc.intake.landing:Landing.land", "before", 2), trap("shutil:copyfile", "half"))
    assert_killed(victims.run(home, "pull", *home.pull_arguments(), traps=traps, across_devices=True))
    assert any(path.name == "sent.partial" for path in home.landing.rglob("*"))
    assert_landing_is_whole(home)
    assert victims.run(home, "pull", *home.pull_arguments(), across_devices=True) == 0, home.log.read_text()
    assert home.pulled() == undisturbed


def test_what_the_spool_holds_goes_with_the_process_and_not_before(victims: Victims, home: Home) -> None:
    """The next visit removes what a killed one left, and leaves alone what another one is working on."""
    assert_killed(victims.run(home, "pull", *home.pull_arguments(), traps=(trap("source:fetch", "half", 2),)))
    (left,) = (home.folder / "spool").iterdir()
    with spool_folder_of(home, "KC009") as busy:
        assert victims.run(home, "pull", *home.pull_arguments(("KC002",))) == 0
        assert not left.exists()
        assert busy.is_dir()
    assert spooled(home.folder) == []


def kill_after(victims: Victims, home: Home, seconds: float) -> int | None:
    """A pull that is killed after so many seconds, unless it was quicker."""
    pid = victims.start(home, "pull", *home.pull_arguments())
    time.sleep(seconds)
    victims.kill(pid)
    return victims.wait(pid)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(n, marks=pytest.mark.faults) for n in range(4, 40))])
def test_killed_at_random(seed: int, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    """Killed again and again at any moment until one pull gets through."""
    rng = random.Random(seed)
    kills = 0
    # What it takes here and now to visit no branch at all.
    began = time.monotonic()
    assert victims.run(home, "pull", *home.pull_arguments(())) == 0
    least = time.monotonic() - began
    # More time by and by: how much a pull needs beyond that is the machine's and what runs beside it.
    while (status := kill_after(victims, home, rng.uniform(0.5, 3 + kills / 10) * least)) != 0:
        assert_killed(status)
        assert_landing_is_whole(home)
        kills += 1
        assert kills < 200, "no pull gets through"
    assert home.pulled() == undisturbed
