"""Everything in force on `as_of`, from which all marts are computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from kkbc_play.simulator.reference import Reference
from kkbc_play.simulator.truth.facts import (
    Activity,
    Facts,
    Payment,
    Registration,
    SliceKey,
    SliceRecord,
    Target,
    rows_in_force,
    slices_in_force,
    targets_in_force,
)
from kkbc_play.simulator.truth.participants import Participant, participants_of
from kkbc_play.simulator.truth.slices import Entry, days_between, expected_slices, slice_entries

FEEDS = ("pendaftaran", "iuran", "kegiatan")


@dataclass(frozen=True)
class Nation:
    """The facts, the reference tables, and the range of days that the daily marts show."""

    facts: Facts
    reference: Reference
    first: date
    as_of: date

    @property
    def branches(self) -> Sequence[str]:
        """Branch ids, in order."""
        return self.reference.ids

    @cached_property
    def days(self) -> list[date]:
        """First business date to as_of."""
        return days_between(self.first, self.as_of)

    @cached_property
    def slices(self) -> dict[SliceKey, SliceRecord]:
        """The revision in force of each slice."""
        return slices_in_force(self.facts.slices)

    @cached_property
    def slice_entries(self) -> list[Entry]:
        """The figures of each expected slice."""
        return slice_entries(self.facts.slices, expected_slices(FEEDS, self.branches, self.days))

    @cached_property
    def registrations(self) -> list[Registration]:
        """Registrations in force."""
        return rows_in_force("pendaftaran", self.facts.registrations, self.slices)

    @cached_property
    def payments(self) -> list[Payment]:
        """Contributions in force."""
        return rows_in_force("iuran", self.facts.payments, self.slices)

    @cached_property
    def activities(self) -> list[Activity]:
        """Activities in force."""
        return rows_in_force("kegiatan", self.facts.activities, self.slices)

    @cached_property
    def targets(self) -> dict[tuple[str, str], Target]:
        """Targets in force by (branch, month YYYY-MM)."""
        return targets_in_force(self.facts.targets, self.slices)

    @cached_property
    def participants(self) -> list[Participant]:
        """Everyone with a registration or a payment in force."""
        return participants_of(self.registrations, self.payments)
