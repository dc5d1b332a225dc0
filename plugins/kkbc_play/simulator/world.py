"""The world: 122 branches played night by night into a folder, with the truth of every night next to what they send."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from kkbc.core.errors import UserError
from kkbc_play.simulator import reference as reference_tables
from kkbc_play.simulator import state
from kkbc_play.simulator.calendar import DAY, midnight
from kkbc_play.simulator.deliver import FOLDERS, Post
from kkbc_play.simulator.fate import Fates, Planned
from kkbc_play.simulator.misbehaviour import Sheet
from kkbc_play.simulator.play import Play
from kkbc_play.simulator.posting import Posting, put_last
from kkbc_play.simulator.scale import DEFAULT, Scale
from kkbc_play.simulator.spelling import profile_of
from kkbc_play.simulator.targets import HEAD_OFFICE, HEAD_OFFICE_PROFILE, target_posting
from kkbc_play.simulator.truth import truth_of
from kkbc_play.simulator.truth.facts import Facts
from kkbc_play.simulator.ways import FILE, MIX, assign, check_ways

WORLD_FILE = "world.json"

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

    Below `folder`: what the branches have to deliver, truth/{YYYY-MM-DD}.json, and state/. Branches of kind file, sftp
    and s3 lie in branches/{branch_id}/{YYYY-MM-DD}/ as they write it, those of kind http in api/, of kind postgres in
    ekspor/, for the servers (kkbc_play.simulator.servers) to hand out. `ways` is MIX or one kind for all; head office
    sends
    files. The same seed, scale, first date and ways give the same bytes, whether played at once or with pauses. The
    first night also lays down the opening deliveries, dated the day before `first_date`.

    What is not given is what the world in `folder` was begun with, else the default: 20231211, DEFAULT, 11 December
    2023, "file", with truth. Raises UserError when it was begun with another, or `folder` holds something else.
    """

    def __init__(
        self,
        folder: Path,
        seed: int | None = None,
        scale: Scale | None = None,
        first_date: date | None = None,
        *,
        truth: bool | None = None,
        ways: str | None = None,
    ) -> None:
        self.folder = folder
        self._state = folder / "state"
        kept = self._kept()
        self.seed: int = _chosen(seed, kept["seed"])
        self.scale: Scale = _chosen(scale, Scale(**kept["scale"]))
        self.first_date: date = _chosen(first_date, date.fromisoformat(kept["first_date"]))
        self.truth: bool = _chosen(truth, kept["truth"])
        self.ways = check_ways(_chosen(ways, kept["ways"]))
        self.nights_played: int = kept["nights_played"]
        differing = [name for name, value in self._identity().items() if kept[name] != value]
        if differing and self._begun():
            raise UserError(
                f"the world in {self.folder} was begun with another {' and '.join(differing)}",
                "leave that out to continue it as it was begun, or play in an empty folder",
            )
        self._reference = reference_tables.load()
        self._play = Play(self._reference, self.scale, self.seed)
        self._profiles = {b.branch_id: profile_of(b, self.seed) for b in self._reference.branches.values()}
        self._profiles[HEAD_OFFICE] = HEAD_OFFICE_PROFILE
        self._moved: dict[str, str] = kept["moved"]
        self._agenda: list[Planned] = []
        self._facts = Facts()
        if self.nights_played:
            self._continue()

    @property
    def next_date(self) -> date:
        """The business date of the next night."""
        return self.first_date + timedelta(days=self.nights_played)

    @property
    def branches_root(self) -> Path:
        """The folder to which all branches deliver that deliver files."""
        return self.folder / FOLDERS[FILE]

    @property
    def kinds(self) -> dict[str, str]:
        """By which kind of way each branch and head office deliver from now on."""
        return kinds_of(self._document(), self._reference.ids)

    def begin(self) -> None:
        """Lays the foundation stone, so that the branches can be served before the first night. Idempotent."""
        if not self._begun():
            self._save()

    def play_night(self, progress: Progress | None = None) -> Night:
        """Play the next business date. `progress` is called with (deliveries written, in all, what is being done)."""
        self.begin()
        day = self.next_date
        sheet = Sheet(self.folder, self.kinds)
        misbehaviours = {branch_id: sheet.of(branch_id) for branch_id in self._reference.ids}
        self._moved |= {branch_id: how.value for branch_id, how in misbehaviours.items() if how.name == "moved"}
        kinds = self.kinds
        post = Post(self.folder, self._reference, self.scale, f"{self.seed}/{day}")
        self.branches_root.mkdir(exist_ok=True)
        postings = self._opening() if self.nights_played == 0 else []
        fates = Fates(self.scale, self.seed, self.nights_played)
        for branch_id, feeds in self._play.day(day).items():
            restate = misbehaviours[branch_id].name == "revised"
            self._agenda += fates.plan(branch_id, day, feeds, kinds[branch_id], restate=restate)
        postings += [planned.posting for planned in self._agenda if planned.night <= day]
        self._agenda = [planned for planned in self._agenda if planned.night > day]
        if target := target_posting(self._reference, self.scale, self.seed, self.first_date, day):
            postings.append(target)
        for done, posting in enumerate(postings):
            if progress:
                progress(done, len(postings), f"{posting.branch_id} {posting.business_date}")
            post.send(posting, self._profiles[posting.branch_id], kinds[posting.branch_id])
        if progress:
            progress(len(postings), len(postings), "truth" if self.truth else "state")
        path = self._write_truth(post.facts, day) if self.truth else None
        self._keep(post.facts, day)
        return Night(day, len(postings), len(post.facts.slices), post.rows, path)

    def _opening(self) -> list[Posting]:
        day = self.first_date - timedelta(days=1)
        events = self._play.opening(day)
        postings = [Posting(b, day, 1, midnight(day) + DAY - 3600, feeds) for b, feeds in events.items()]
        target = target_posting(self._reference, self.scale, self.seed, self.first_date, day)
        return [*postings, target] if target else postings

    def _write_truth(self, tonight: Facts, day: date) -> Path:
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
            "ways": self.ways,
        }

    def _begun(self) -> bool:
        return (self._state / WORLD_FILE).exists()

    def _kept(self) -> dict[str, Any]:
        """What the world in the folder was begun with; the defaults when there is none."""
        if self._begun():
            return read_world(self.folder)
        if self.folder.is_file() or (self.folder.is_dir() and any(self.folder.iterdir())):
            raise UserError(f"{self.folder} holds something else than a world", "name an empty or a new folder")
        return _fresh()

    def _keep(self, tonight: Facts, day: date) -> None:
        """Save the state into a folder of its own and point to it last: a night that was cut short is played again."""
        folder = self._state / str(day)
        folder.mkdir(parents=True, exist_ok=True)
        if self.truth:
            state.save_facts(folder / "facts", tonight)
        state.save_play(folder, self._play)
        state.save_agenda(folder, self._agenda)
        self.nights_played += 1
        self._save()
        before = self._state / str(day - timedelta(days=1))
        for name in ("people.parquet", "offices.json", "agenda.json"):
            (before / name).unlink(missing_ok=True)

    def _save(self) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        put_last(self._state / WORLD_FILE, json.dumps(self._document()).encode())

    def _document(self) -> dict[str, Any]:
        return self._identity() | {"moved": self._moved, "nights_played": self.nights_played}

    def _continue(self) -> None:
        last = self._state / str(self.next_date - timedelta(days=1))
        state.load_play(last, self._play)
        self._agenda = state.load_agenda(last)
        if self.truth:
            for night in range(self.nights_played):
                self._facts.add(state.load_facts(self._state / str(self.first_date + timedelta(days=night)) / "facts"))


def read_world(folder: Path) -> dict[str, Any]:
    """What is noted of the world in `folder`. Raises UserError when there is none."""
    try:
        # A world of before there were several ways has files only.
        return {**_fresh(), **json.loads((folder / "state" / WORLD_FILE).read_text(encoding="utf-8"))}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no world", "`kkbc simulate` begins one, --world names another") from error


def kinds_of(noted: Mapping[str, Any], branch_ids: Sequence[str]) -> dict[str, str]:
    """By which kind each branch and head office of a world deliver from now on; `noted` is as read_world has it."""
    return {**assign(noted["ways"], branch_ids, noted["seed"]), **noted["moved"], HEAD_OFFICE: FILE}


def branch_kinds(folder: Path) -> dict[str, str]:
    """`kinds_of` the world in `folder`. Raises UserError when there is none."""
    return kinds_of(read_world(folder), reference_tables.load().ids)


def ways_of_new(folder: Path) -> str | None:
    """The ways of a world that is begun in `folder` for people to look at: every way; None when one is there."""
    return None if (folder / "state" / WORLD_FILE).exists() else MIX


def _fresh() -> dict[str, Any]:
    scale, first_date = asdict(DEFAULT), "2023-12-11"
    begun = {"seed": 20231211, "scale": scale, "first_date": first_date, "truth": True, "ways": FILE}
    return begun | {"moved": {}, "nights_played": 0}


def _chosen(given: Any, kept: Any) -> Any:
    return kept if given is None else given
