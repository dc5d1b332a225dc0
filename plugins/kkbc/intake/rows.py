"""The judged rows of one slice, and how many of them are what."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Counts:
    """How many rows of a slice are what. `warnings` counts pairs of accepted row and code (KPI rule 18).

    nik_valid: rows sent whose NIK earns no error; None for feeds without NIK. contactable: accepted rows by which
    the person can be reached; None for feeds without contacts.
    """

    accepted: int
    quarantined: int
    warnings: int
    nik_valid: int | None
    contactable: int | None

    @classmethod
    def of(
        cls, accepted: pl.DataFrame, quarantined: pl.DataFrame, nik_valid: int | None, contacts: Sequence[str]
    ) -> "Counts":
        """The counts of some rows; `contacts`: the columns by which a person can be reached."""
        reachable = pl.any_horizontal(pl.col(contacts).is_not_null()).sum() if contacts else pl.lit(0)
        warnings, contactable = accepted.select(pl.col("_warnings").list.len().sum(), reachable.alias("reachable")).row(
            0
        )
        return cls(
            accepted.height, quarantined.height, int(warnings), nik_valid, int(contactable) if contacts else None
        )

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.accepted + other.accepted,
            self.quarantined + other.quarantined,
            self.warnings + other.warnings,
            None if self.nik_valid is None or other.nik_valid is None else self.nik_valid + other.nik_valid,
            None if self.contactable is None or other.contactable is None else self.contactable + other.contactable,
        )


@dataclass(frozen=True)
class SliceRows:
    """The rows of a slice, every one accepted or quarantined, as frames that can be gone through again and again.

    accepted: `_line`, `_warnings`, the contract's typed columns, and `participant_token` where the contract has a NIK.
    quarantined: `_line`, `_errors`, `_warnings`, `_fields`. Other columns are of no account.
    """

    accepted: Iterable[pl.DataFrame]
    quarantined: Iterable[pl.DataFrame]
    counts: Counts

    @property
    def sent(self) -> int:
        """Data rows of the slice."""
        return self.counts.accepted + self.counts.quarantined
