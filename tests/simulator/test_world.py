"""The world: seeded, repeatable, continued where it stopped."""

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kkbc.errors import UserError
from kkbc.simulator import Scale, World

SMALL = Scale(registrations=150, contributions=400, opening=300)


def _tree(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("at_once")
    world = World(folder, seed=3, scale=SMALL)
    for _ in range(4):
        world.play_night()
    return folder


def test_the_same_seed_gives_the_same_bytes_also_when_continued(at_once: Path, tmp_path: Path) -> None:
    for nights in range(4):
        world = World(tmp_path, seed=3, scale=SMALL)
        assert world.nights_played == nights
        world.play_night()
    assert _tree(tmp_path) == _tree(at_once)


def test_another_seed_gives_other_bytes(at_once: Path, tmp_path: Path) -> None:
    World(tmp_path, seed=4, scale=SMALL).play_night()
    ours, theirs = _tree(tmp_path), _tree(at_once)
    same = [name for name in ours if name.startswith("branches") and theirs.get(name) == ours[name]]
    assert len(same) < len(ours) / 4  # empty files are alike


def test_a_night_cut_short_is_played_again_alike(at_once: Path, tmp_path: Path) -> None:
    class Cut(Exception): ...

    def cut(done: int, total: int, what: str) -> None:
        if done == 100:
            raise Cut

    World(tmp_path, seed=3, scale=SMALL).play_night()
    with pytest.raises(Cut):
        World(tmp_path, seed=3, scale=SMALL).play_night(cut)
    world = World(tmp_path, seed=3, scale=SMALL)
    for _ in range(3):
        world.play_night()
    assert _tree(tmp_path) == _tree(at_once)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 4}, "seed"),
        ({"scale": replace(SMALL, opening=301)}, "scale"),
        ({"first_date": date(2023, 12, 12)}, "first_date"),
        ({"truth": False}, "truth"),
    ],
)
def test_a_world_refuses_to_go_on_as_another(at_once: Path, other: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=f"another {named}"):
        World(at_once, **({"seed": 3, "scale": SMALL} | other))  # type: ignore[arg-type]


def test_without_truth_the_branches_send_the_same(at_once: Path, tmp_path: Path) -> None:
    night = World(tmp_path, seed=3, scale=SMALL, truth=False).play_night()
    assert night.truth_path is None
    sent = {name: digest for name, digest in _tree(tmp_path).items() if name.startswith("branches")}
    assert sent
    assert sent.items() <= _tree(at_once).items()


def test_progress_counts_deliveries_up(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    night = World(tmp_path, seed=3, scale=SMALL).play_night(lambda done, total, what: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(night.deliveries + 1))
    assert {total for _, total in seen} == {night.deliveries}
