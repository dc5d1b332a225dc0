"""How much is played, and how often what goes wrong."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Volumes are nationwide on an ordinary weekday; rates are shares of rows, slices or deliveries.

    registrations, contributions: rows a night; opening: participants registered before the first night.
    errors, warnings: rows that earn an error or a warning (`activity_errors`, `activity_warnings` for kegiatan);
    duplicates: rows sent twice in one slice; corrections: rows that correct or void an earlier one;
    late, absent: deliveries sent after they were due, or one or two nights later; omitted, revised, rejected: slices
    left out of their manifest, restated on a later night, or refused as a whole; unlisted: with a stray file.
    """

    registrations: int = 2_000
    contributions: int = 10_000
    opening: int = 40_000
    errors: float = 0.03
    warnings: float = 0.03
    activity_errors: float = 0.15
    activity_warnings: float = 0.08
    duplicates: float = 0.006
    corrections: float = 0.02
    late: float = 0.03
    absent: float = 0.015
    omitted: float = 0.004
    revised: float = 0.02
    rejected: float = 0.01
    unlisted: float = 0.02


DEFAULT = Scale()
NATIONAL = Scale(registrations=20_000, contributions=240_000, opening=400_000)
