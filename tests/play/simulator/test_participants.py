"""A participant's history, by hand: intervals, statuses, reactivation, crediting."""

from datetime import date

import pytest

from kkbc_play.simulator.calendar import jakarta_day, midnight
from kkbc_play.simulator.truth.facts import Payment, Registration
from kkbc_play.simulator.truth.participants import Participant

D = date


def pay(start: date, months: int, *, at: date | None = None, branch: str = "KC001", key: str = "b1") -> Payment:
    moment = midnight(at or start)
    return Payment(branch, D(2024, 1, 1), 1, 0, key, 0, "BARU", "x", moment, at or start, start, months, 16_800)


def register(at: int, *, branch: str = "KC001", key: str = "p1", channel: str = "PASAR") -> Registration:
    return Registration(branch, D(2024, 1, 1), 1, 0, key, 0, "BARU", "x", at, jakarta_day(at), channel, None, "NELAYAN")


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        (D(2024, 1, 31), 1, D(2024, 2, 29)),
        (D(2023, 1, 31), 1, D(2023, 2, 28)),
        (D(2023, 12, 11), 12, D(2024, 12, 11)),
        (D(2023, 11, 30), 3, D(2024, 2, 29)),
    ],
)
def test_coverage_runs_date_to_date(start: date, months: int, end: date) -> None:
    assert Participant(payments=[pay(start, months)]).intervals == [(start, end)]


def test_touching_and_overlapping_intervals_merge_and_a_gap_of_a_day_does_not() -> None:
    touching = [pay(D(2024, 1, 31), 1), pay(D(2024, 2, 29), 1)]
    assert Participant(payments=touching).intervals == [(D(2024, 1, 31), D(2024, 3, 29))]
    inside = [pay(D(2024, 1, 1), 6), pay(D(2024, 2, 1), 1)]
    assert Participant(payments=inside).intervals == [(D(2024, 1, 1), D(2024, 7, 1))]
    apart = [pay(D(2024, 1, 1), 1), pay(D(2024, 2, 2), 1)]
    assert Participant(payments=apart).intervals == [(D(2024, 1, 1), D(2024, 2, 1)), (D(2024, 2, 2), D(2024, 3, 2))]


def test_status_turns_on_the_end_and_three_calendar_months_later() -> None:
    person = Participant([register(midnight(D(2023, 10, 1)))], [pay(D(2023, 10, 31), 1)])  # ends 30 November
    assert person.status_on(D(2023, 9, 30)) is None
    assert person.status_on(D(2023, 10, 30)) == "belum_aktif"
    assert person.status_on(D(2023, 11, 29)) == "aktif"
    assert person.status_on(D(2023, 11, 30)) == "menunggak"
    assert person.status_on(D(2024, 2, 28)) == "menunggak"
    assert person.status_on(D(2024, 2, 29)) == "non_aktif"  # 30 November + 3 months, clipped


def test_a_return_is_a_reactivation_from_three_months_on() -> None:
    first = pay(D(2023, 10, 31), 1)
    assert Participant(payments=[first, pay(D(2024, 2, 29), 1)]).reactivations == [D(2024, 2, 29)]
    assert Participant(payments=[first, pay(D(2024, 2, 28), 1)]).reactivations == []


def test_an_acquisition_is_credited_to_the_latest_registration_by_jakarta_day() -> None:
    activated = D(2024, 1, 10)
    late_that_day = register(midnight(D(2024, 1, 11)) - 1, branch="KC009", key="p9")
    next_day = register(midnight(D(2024, 1, 11)), branch="KC008", key="p8")
    early = register(midnight(D(2024, 1, 2)))
    person = Participant([next_day, late_that_day, early], [pay(activated, 1)])
    assert person.credited == late_that_day
    assert person.credited_branch == "KC009"


def test_ties_go_to_the_greater_number_then_the_greater_branch_by_code_points() -> None:
    at = midnight(D(2024, 1, 2))
    upper, lower = register(at, branch="KC122", key="PD/9"), register(at, branch="KC001", key="pd-1")
    assert Participant([lower, upper], [pay(D(2024, 1, 5), 1)]).credited == lower
    near, far = register(at, branch="KC001", key="7"), register(at, branch="KC002", key="7")
    assert Participant([far, near], [pay(D(2024, 1, 5), 1)]).credited == far
    assert Participant([far, near], [pay(D(2023, 12, 5), 1)]).credited == far  # earliest after: the same tie rule


def test_without_earlier_registration_the_earliest_after_counts() -> None:
    first, second = (
        register(midnight(D(2024, 2, 1)), key="p1"),
        register(midnight(D(2024, 3, 1)), key="p2", branch="KC002"),
    )
    assert Participant([second, first], [pay(D(2024, 1, 5), 1)]).credited == first


def test_without_registration_the_branch_that_took_the_payment_counts() -> None:
    person = Participant(
        payments=[
            pay(D(2024, 1, 5), 1, at=D(2024, 1, 7), branch="KC003", key="b9"),
            pay(D(2024, 1, 5), 1, at=D(2024, 1, 7), branch="KC002", key="b8"),
            pay(D(2024, 2, 5), 1, at=D(2024, 1, 1), branch="KC001", key="b7"),
        ]
    )
    assert person.credited is None
    assert person.credited_branch == "KC002"  # starts on the day of activation, then earliest, then lowest branch
    assert person.branch_on(D(2024, 1, 6)) == "KC001"  # the first payment of all


def test_status_counts_for_the_branch_of_the_latest_registration_up_to_the_day() -> None:
    moved = register(midnight(D(2024, 1, 20)), branch="KC005", key="p2")
    person = Participant([register(midnight(D(2024, 1, 1))), moved], [pay(D(2024, 1, 1), 3)])
    assert [person.branch_on(D(2024, 1, day)) for day in (19, 20)] == ["KC001", "KC005"]
