"""What every way of delivering offers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from kkbc.core.errors import BranchRefused, BranchUnavailable
from kkbc.exchange.slices import Delivery, Entry


class OneRefused(BranchRefused):
    """One manifest or slice is kept from us; the others can be had."""


class OneUnavailable(BranchUnavailable):
    """One manifest or slice cannot be had just now, though the branch answers; the others may be."""


@dataclass(frozen=True)
class Wanted:
    """What a visit looks for. Ways that list what is there use `until` only; those that ask day by day, all of it.

    `skip` are settled days that were asked for a short while ago.
    """

    since: date
    until: date
    skip: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Manifest:
    """A manifest that may hold something new. `stamp` changes when the manifest does, and is cheap to get."""

    business_date: date
    name: str
    stamp: str
    read: Callable[[], Delivery]


class Source(Protocol):
    """One branch, seen through its way of delivering."""

    def manifests(self, wanted: Wanted) -> Iterator[Manifest]:
        """The manifests that are there, by date and revision.

        Reading them is left to the caller, who knows which ones are settled.
        Raises BranchRefused, BranchUnavailable or BranchTimeout, as every call of a source may; OneRefused and
        OneUnavailable concern the manifest that is read or the slice that is fetched, and no other.
        """
        ...

    def fetch(self, delivery: Delivery, entry: Entry, target: Path) -> None:
        """Writes the bytes of one slice to the local file `target`, as sent.

        Raises SliceRejected FILE_MISSING when there is nothing to fetch.
        """
        ...

    def close(self) -> None:
        """Gives connections back."""
        ...
