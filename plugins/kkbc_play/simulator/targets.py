"""Targets from head office: sent before the first night for the months of the play, and restated once."""

from datetime import date, timedelta
from itertools import pairwise
from random import Random

from kkbc_play.simulator.calendar import add_months, midnight
from kkbc_play.simulator.posting import Posting
from kkbc_play.simulator.reference import Reference
from kkbc_play.simulator.rows import TARGET, Row
from kkbc_play.simulator.scale import Scale
from kkbc_play.simulator.spelling import Fashion, Profile

HEAD_OFFICE = "HQ"
HEAD_OFFICE_PROFILE = Profile(
    format="csv",
    delimiter=";",
    encoding="utf-8",
    newline="\n",
    titles=1,
    headers="lower",
    order=0,
    extra=(),
    dropped=frozenset(),
    utc_hours=7,
    fashion=Fashion(dates="iso", amounts="dots", phones="0", missing=""),
)
_MONTHS = 14
_RESTATED_AFTER = 3


def target_posting(reference: Reference, scale: Scale, seed: int, first: date, day: date) -> Posting | None:
    """What head office sends on `day`, if anything. Three branches never get a target, one gets a target of 0."""
    opening = first - timedelta(days=1)
    if day not in {opening, first + timedelta(days=_RESTATED_AFTER)}:
        return None
    rng = Random(f"{seed}/targets/{day}")
    month = first.replace(day=1)
    months = [add_months(month, n) for n in range(_MONTHS)] if day == opening else [month, add_months(month, 1)]
    rows = []
    for position, branch in enumerate(reference.branches.values()):
        if position in {20, 60, 100} or (day != opening and rng.random() < 0.8):
            continue
        for each in months:
            new = (
                0 if position == 40 else max(1, round(scale.registrations * branch.share * 22 * rng.uniform(0.7, 1.1)))
            )
            rows.append(_row(branch.branch_id, each, new, rng))
            if rng.random() < 0.005:  # the same key again: the last line wins
                rows.append(_row(branch.branch_id, each, new + 5, rng))
    for row, later in pairwise(rows):
        if row.values["kode_kantor"] == later.values["kode_kantor"] and row.values["bulan"] == later.values["bulan"]:
            row.errors.add("KEY_DUPLICATE")
    unknown = _row("KC999", month, 10, rng)
    unknown.errors.add("CODE_UNKNOWN")
    negative = _row(reference.ids[20], month, -5, rng)
    negative.errors.add("NEGATIVE")
    return Posting(HEAD_OFFICE, day, 1, midnight(day) + 18 * 3600, {TARGET: [*rows, unknown, negative]})


def _row(branch_id: str, month: date, new: int, rng: Random) -> Row:
    active = abs(new) * rng.randint(8, 20)
    return Row(
        {
            "kode_kantor": branch_id,
            "bulan": f"{month:%Y-%m}",
            "target_peserta_baru": new,
            "target_peserta_aktif": active,
            "target_iuran": active * 16_800,
        }
    )
