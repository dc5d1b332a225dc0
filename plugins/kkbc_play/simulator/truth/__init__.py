"""The truth: what every mart must show, from what the play knows, in plain Python and apart from the pipeline."""

from datetime import date, timedelta
from typing import Any

from kkbc_play.simulator.reference import Reference
from kkbc_play.simulator.truth import campaign, monthly
from kkbc_play.simulator.truth.daily import Daily, channels
from kkbc_play.simulator.truth.facts import Facts
from kkbc_play.simulator.truth.nation import FEEDS, Nation
from kkbc_play.simulator.truth.slices import expected_slices, quarantine_entries, slice_entries


def truth_of(facts: Facts, reference: Reference, first: date, as_of: date) -> dict[str, Any]:
    """All figures over every day from `first` to `as_of`, ready to be written as JSON."""
    nation = Nation(facts, reference, first, as_of)
    daily = Daily(nation)
    opening = expected_slices(FEEDS, nation.branches, [first - timedelta(days=1)])
    return {
        "as_of": as_of.isoformat(),
        "first_business_date": first.isoformat(),
        "slices": nation.slice_entries,
        "opening_slices": slice_entries(facts.slices, opening),
        "quarantine": quarantine_entries(nation.slices, first),
        "marts": {
            "kpi_national_daily": daily.national(),
            "kpi_branch_daily": daily.branches(),
            "kpi_channel_daily": channels(nation),
            "kpi_activity": campaign.activities(nation),
            "kpi_radio_lift": campaign.radio_lift(nation),
            "kpi_retention": monthly.retention(nation),
            "kpi_target_monthly": monthly.targets(nation),
            "kpi_coverage_province": monthly.coverage_by_province(nation),
            "kpi_occupation_monthly": monthly.occupations(nation),
        },
    }
