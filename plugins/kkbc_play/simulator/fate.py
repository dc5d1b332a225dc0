"""What becomes of a day's rows on their way: on time, late, days later, left out, refused, restated."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from random import Random

from kkbc_play.simulator.calendar import DAY, midnight
from kkbc_play.simulator.posting import WHOLE, Posting
from kkbc_play.simulator.rows import BRANCH_FEEDS, Row
from kkbc_play.simulator.scale import Scale
from kkbc_play.simulator.ways import CARRIES

_SLICE_REASONS = ("CHECKSUM", "FILE_MISSING", "UNREADABLE", "HEADER", "ROW_COUNT")
_NEED_ROWS = {"UNREADABLE", "HEADER", "ROW_COUNT"}


@dataclass(frozen=True)
class Planned:
    """A posting and the night on which it appears at the branch."""

    night: date
    posting: Posting


class Fates:
    """Decides for every branch of the night `nights` after the first. Reasons of rejection go round over the nights, so
    that each is met.
    """

    def __init__(self, scale: Scale, seed: int, nights: int) -> None:
        self.scale = scale
        self.seed = seed
        self._reasons = count(nights * 3)

    def plan(
        self, branch_id: str, day: date, feeds: dict[str, list[Row]], kind: str, *, restate: bool = False
    ) -> list[Planned]:
        """The postings of one branch's day: the first one, then restatements on later nights.

        `kind` is the way it delivers by, which limits what can be wrong; `restate` restates all of it a night later.
        """
        able = CARRIES[kind]
        rng = Random(f"{self.seed}/fate/{branch_id}/{day}")
        if rng.random() < self.scale.absent:
            night = day + timedelta(days=rng.choice((1, 1, 2)))
            return [Planned(night, Posting(branch_id, day, 1, self._evening(rng, night), feeds))]
        first = Posting(
            branch_id, day, 1, self._sent_at(rng, day), dict(feeds), stray=rng.random() < self.scale.unlisted
        )
        later: dict[int, dict[str, list[Row]]] = {}
        refused_later: dict[int, dict[str, str]] = {}
        if rng.random() < self.scale.rejected and able.whole:  # a third of the refusals condemn whole deliveries
            first.whole = list(WHOLE)[next(self._reasons) % len(WHOLE)]
            if rng.random() < 0.8:
                later[rng.choice((1, 1, 2))] = dict(feeds)
            return self._planned(rng, day, first, later, {})
        for feed in BRANCH_FEEDS:
            if restate:
                later.setdefault(1, {})[feed] = self._restated(rng, feeds[feed])
                continue
            after = rng.choice((1, 1, 2, 3))
            if rng.random() < self.scale.omitted:
                del first.feeds[feed]
                later.setdefault(after, {})[feed] = feeds[feed]
            elif rng.random() < self.scale.rejected:
                first.refused |= self._refusal(feed, feeds[feed], able.refused)
                if rng.random() < 0.7:
                    later.setdefault(after, {})[feed] = feeds[feed]
            elif rng.random() < self.scale.revised:
                later.setdefault(after, {})[feed] = self._restated(rng, feeds[feed])
                if rng.random() < 0.2:
                    refused_later.setdefault(after, {}).update(self._refusal(feed, later[after][feed], able.refused))
                    if rng.random() < 0.5:
                        later.setdefault(after + 1, {})[feed] = self._restated(rng, feeds[feed])
        return self._planned(rng, day, first, later, refused_later)

    def _planned(
        self,
        rng: Random,
        day: date,
        first: Posting,
        later: dict[int, dict[str, list[Row]]],
        refused: dict[int, dict[str, str]],
    ) -> list[Planned]:
        planned = [Planned(day, first)]
        for revision, after in enumerate(sorted(later), 2):
            night = day + timedelta(days=after)
            sent_at = self._evening(rng, night)
            posting = Posting(first.branch_id, day, revision, sent_at, later[after], refused=refused.get(after, {}))
            planned.append(Planned(night, posting))
        return planned

    def _refusal(self, feed: str, rows: list[Row], able: tuple[str, ...]) -> dict[str, str]:
        """The next reason for which this slice can be refused, if there is any."""
        for _ in _SLICE_REASONS:
            reason = _SLICE_REASONS[next(self._reasons) % len(_SLICE_REASONS)]
            if reason in able and (rows or reason not in _NEED_ROWS):
                return {feed: reason}
        return {}

    def _sent_at(self, rng: Random, day: date) -> int:
        due = midnight(day) + DAY + 1800
        if rng.random() < self.scale.late:
            return due + rng.choice((1, rng.randint(60, 6 * 3600)))
        return due if rng.random() < 0.01 else self._evening(rng, day)

    @staticmethod
    def _evening(rng: Random, day: date) -> int:
        return midnight(day) + 19 * 3600 + rng.randint(0, 4 * 3600)

    @staticmethod
    def _restated(rng: Random, rows: list[Row]) -> list[Row]:
        """What the branch sends again: some rows are gone, some were touched since."""
        kept = [row.copy() for row in rows if rng.random() > 0.1]
        for row in kept:
            if rng.random() < 0.1:
                row.values["diubah_pada"] = row.number("diubah_pada") + 120
                row.values["status_data"] = rng.choice(("KOREKSI", "KOREKSI", "BATAL"))
        return kept
