"""The world: 122 branches played night by night into a folder, with the truth of every night beside what they send."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from kkbc.errors import UserError
from kkbc.simulator import reference as reference_tables
from kkbc.simulator import state
from kkbc.simulator.calendar import DAY, midnight
from kkbc.simulator.deliver import Post, Posting
from kkbc.simulator.fate import Fates, Planned
from kkbc.simulator.play import Play
from kkbc.simulator.scale import DEFAULT, Scale
from kkbc.simulator.spelling import profile_of
from kkbc.simulator.targets import HEAD_OFFICE, HEAD_OFFICE_PROFILE, target_posting
from kkbc.simulator.truth import truth_of
from kkbc.simulator.truth.facts import Facts

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Night:
    """What a night left: counts of manifests, slices and data rows written. `truth_path` is None without truth."""

    business_date: date
    deliveries: int
    slices: int
    rows: int
    truth_path: Path | None


class World:
    """A seeded play in `folder`, continued where it stopped.

    Below `folder`: branches/{branch_id}/{YYYY-MM-DD}/ as the branches write it, truth/{YYYY-MM-DD}.json, and state/.
    The same seed, scale and first date give the same bytes, whether played at once or with pauses. The first night
    also lays down the opening deliveries, dated the day before `first_date`.

    Raises UserError when `folder` holds a world begun with another seed, scale, first date or choice of truth.
    """

    def __init__(
        self,
        folder: Path,
        seed: int = 20231211,
        scale: Scale = DEFAULT,
        first_date: date = date(2023, 12, 11),
        *,
        truth: bool = True,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.scale = scale
        self.first_date = first_date
        self.truth = truth
        self.nights_played = 0
        self._reference = reference_tables.load()
        self._play = Play(self._reference, scale, seed)
        self._profiles = {b.branch_id: profile_of(b, seed) for b in self._reference.branches.values()}
        self._profiles[HEAD_OFFICE] = HEAD_OFFICE_PROFILE
        self._agenda: list[Planned] = []
        self._facts = Facts()
        self._state = folder / "state"
        if (self._state / "world.json").exists():
            self._continue()

    @property
    def next_date(self) -> date:
        """The business date of the next night."""
        return self.first_date + timedelta(days=self.nights_played)

    @property
    def branches_root(self) -> Path:
        """The folder to which all branches deliver."""
        return self.folder / "branches"

    def play_night(self, progress: Progress | None = None) -> Night:
        """Play the next business date. `progress` is told (deliveries written, in all, what is being done)."""
        day = self.next_date
        post = Post(self.branches_root, self._reference, self.scale, f"{self.seed}/{day}")
        postings = self._opening() if self.nights_played == 0 else []
        fates = Fates(self.scale, self.seed, self.nights_played)
        for branch_id, feeds in self._play.day(day).items():
            self._agenda += fates.plan(branch_id, day, feeds)
        postings += [planned.posting for planned in self._agenda if planned.night <= day]
        self._agenda = [planned for planned in self._agenda if planned.night > day]
        if target := target_posting(self._reference, self.scale, self.seed, self.first_date, day):
            postings.append(target)
        for done, posting in enumerate(postings):
            if progress:
                progress(done, len(postings), f"{posting.branch_id} {posting.business_date}")
            post.send(posting, self._profiles[posting.branch_id])
        if progress:
            progress(len(postings), len(postings), "truth" if self.truth else "state")
        path = self._tell_truth(post.facts, day) if self.truth else None
        self._keep(post.facts, day)
        return Night(day, len(postings), len(post.facts.slices), post.rows, path)

    def _opening(self) -> list[Posting]:
        day = self.first_date - timedelta(days=1)
        events = self._play.opening(day)
        postings = [Posting(b, day, 1, midnight(day) + DAY - 3600, feeds) for b, feeds in events.items()]
        target = target_posting(self._reference, self.scale, self.seed, self.first_date, day)
        return [*postings, target] if target else postings

    def _tell_truth(self, tonight: Facts, day: date) -> Path:
        self._facts.add(tonight)
        path = self.folder / "truth" / f"{day}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(truth_of(self._facts, self._reference, self.first_date, day)), encoding="utf-8")
        return path

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "scale": asdict(self.scale),
            "first_date": self.first_date.isoformat(),
            "truth": self.truth,
        }

    def _keep(self, tonight: Facts, day: date) -> None:
        """Save the state into a folder of its own and point to it last: a night that was cut short is played again."""
        folder = self._state / str(day)
        folder.mkdir(parents=True, exist_ok=True)
        if self.truth:
            state.save_facts(folder / "facts", tonight)
        state.save_play(folder, self._play)
        state.save_agenda(folder, self._agenda)
        self.nights_played += 1
        fresh = self._state / "world.json.new"
        fresh.write_text(json.dumps(self._identity() | {"nights_played": self.nights_played}), encoding="utf-8")
        fresh.replace(self._state / "world.json")
        before = self._state / str(day - timedelta(days=1))
        for name in ("people.parquet", "offices.json", "agenda.json"):
            (before / name).unlink(missing_ok=True)

    def _continue(self) -> None:
        kept = json.loads((self._state / "world.json").read_text(encoding="utf-8"))
        begun = {name: kept[name] for name in self._identity()}
        if differing := [name for name, value in self._identity().items() if begun[name] != value]:
            raise UserError(
                f"the world in {self.folder} was begun with another {' and '.join(differing)}",
                "continue it as it was begun, or play in an empty folder",
            )
        self.nights_played = kept["nights_played"]
        last = self._state / str(self.next_date - timedelta(days=1))
        state.load_play(last, self._play)
        self._agenda = state.load_agenda(last)
        if self.truth:
            for night in range(self.nights_played):
                self._facts.add(state.load_facts(self._state / str(self.first_date + timedelta(days=night)) / "facts"))
