"""kpi_activity and kpi_radio_lift: what an activity or a radio spot brought (KPI rules 13, 15)."""

from collections import Counter
from datetime import date, timedelta

from kkbc_play.simulator.truth.daily import ratio
from kkbc_play.simulator.truth.facts import Activity
from kkbc_play.simulator.truth.nation import Nation
from kkbc_play.simulator.truth.slices import Entry

_AFTER_END = timedelta(days=30)
_WEEKS_BEFORE = (1, 2, 3, 4)
_HEARD_DAYS = (0, 1, 2)


def activities(nation: Nation) -> list[Entry]:
    """One entry for each activity in force, of whatever day."""
    named = Counter((r.branch_id, r.activity) for r in nation.registrations)
    starts: dict[tuple[str, str | None], list[date]] = {}
    for person in nation.participants:
        if person.credited and person.activated_on is not None and person.activated_on <= nation.as_of:
            starts.setdefault((person.credited.branch_id, person.credited.activity), []).append(person.activated_on)
    entries = []
    for activity in sorted(nation.activities, key=lambda a: (a.branch_id, a.key)):
        key = (activity.branch_id, activity.key)
        acquired = sum(day <= activity.ended + _AFTER_END for day in starts.get(key, []))
        entries.append(
            {
                "branch_id": activity.branch_id,
                "activity_code": activity.key,
                "type": activity.kind,
                "contacts": activity.contacts,
                "cost": activity.cost,
                "registrations": named[key],
                "acquisitions": acquired,
                "conversion": ratio(named[key], activity.contacts),
                "paid_conversion": ratio(acquired, named[key]),
                "cost_per_acquisition": None if activity.cost is None else ratio(activity.cost, acquired),
            }
        )
    return entries


def radio_lift(nation: Nation) -> list[Entry]:
    """One entry for each branch and spot date; several spots of a day are one."""
    registered = Counter((r.branch_id, r.day) for r in nation.registrations)
    reported = {(branch_id, day) for feed, branch_id, day in nation.slices if feed == "pendaftaran"}
    spots = _spot_dates(nation.activities)
    entries = []
    for branch_id, spot in sorted(spots):
        observed, baseline = None, None
        if spot + timedelta(days=2) <= nation.as_of:
            observed = sum(registered[branch_id, spot + timedelta(days=i)] for i in _HEARD_DAYS)
            weeks = [
                [
                    registered[branch_id, day]
                    for day in (spot + timedelta(days=i - 7 * week) for i in _HEARD_DAYS)
                    if (branch_id, day) in reported and not _heard(spots - {(branch_id, spot)}, branch_id, day)
                ]
                for week in _WEEKS_BEFORE
            ]
            if sum(bool(week) for week in weeks) >= 2:
                days = [count for week in weeks for count in week]
                baseline = 3 * sum(days) / len(days)
        lift = observed / baseline if observed is not None and baseline else None
        entries.append(
            {
                "branch_id": branch_id,
                "spot_date": spot.isoformat(),
                "observed": observed,
                "baseline": baseline,
                "lift": lift,
            }
        )
    return entries


def _spot_dates(activities: list[Activity]) -> set[tuple[str, date]]:
    return {(activity.branch_id, activity.day) for activity in activities if activity.kind == "RADIO"}


def _heard(spots: set[tuple[str, date]], branch_id: str, day: date) -> bool:
    """Whether `day` is that of a spot of the branch or one of the two after it."""
    return any((branch_id, day - timedelta(days=i)) in spots for i in _HEARD_DAYS)
