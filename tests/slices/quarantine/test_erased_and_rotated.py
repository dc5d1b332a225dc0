"""Slices come back into force, and rows out of quarantine, after an erasure and a change of the key of the tokens.

Landing has the tokens of the key of before beside every row, and the rows of erased persons no more.
"""

from typing import Any

import pytest

from kkbc.core import tokens
from kkbc.rights import Wanted, erase
from kkbc.rights.persons import persons
from kkbc.slices import reread
from kkbc.slices.rejudging import Rejudge
from kkbc.upkeep.keys import destroy_old, rotate
from kkbc.warehouse import connect
from tests.rights.scene import nik, registration, unbalanced
from tests.slices.quarantine.scene import DAY, NEW, NOTE, Office, Rules, accepted, quarantined, query, retry_now, sums
from tests.slices.quarantine.test_holding import R2, held, let_in, published

GONE = 2
ERASED = ["ERASED"]
UNKNOWN = ["CODE_UNKNOWN"]


def rows(*numbers: int, **more: str) -> list[dict[str, str]]:
    """A row for each person, each of whom has a name of their own."""
    return [registration(number, no_pendaftaran=f"R-{number}", **more) for number in numbers]


def erase_and_rotate(*, destroy: bool = True) -> None:
    """A person is erased, and the key that all tokens in landing are of is no more."""
    assert erase(Wanted((nik(GONE),), (1,)), why="requested", who="a tester").findings == ()
    assert rotate(why="a test", who="a tester") is not None
    if destroy:
        destroy_old(why="a test", who="a tester")


def right_tokens() -> bool:
    """Whether each row of raw has the token that the key of today gives of the NIK in vault, or one that none gives."""
    found = query(
        "select r.participant_token, v.participant_token, v.nik from raw.registrations r"
        " left join vault.registrations v using (_business_date, _branch_id, _line)"
    )
    wanted = {person.nik: person.token for person in persons([number for _, _, number in found if number])}
    assert {token[:2] for token in wanted.values()} == {tokens.load_key().prefix}
    return all(
        token == in_vault == wanted[number] if number else token.startswith(tokens.CUT)
        for token, in_vault, number in found
    )


def test_a_held_slice_is_released_without_the_person(office: Office, rules: Rules) -> None:
    office.sends(*rows(1))
    published()
    office.sends(*rows(1, GONE, 3), *rows(4, **NEW), revision=2)
    assert held() == [R2]
    erase_and_rotate()
    assert accepted() == [("R-1", 2)]
    assert unbalanced() == []
    assert let_in(R2) == 2
    assert accepted() == [("R-1", 2), ("R-3", 4)]
    assert quarantined() == [(3, ERASED, "erased"), (5, UNKNOWN, None)]
    assert right_tokens()
    assert unbalanced() == []
    rules.correct()
    assert sums(retry_now()) == (1, 1, 0, 0)
    assert accepted() == [("R-1", 2), ("R-3", 4), ("R-4", 5)]
    assert right_tokens()
    assert unbalanced() == []


@pytest.mark.parametrize("when", ["before the revision", "before the hold"])
def test_the_revision_before_comes_back_without_the_person(office: Office, rules: Rules, when: str) -> None:
    """Rows that a retry had accepted, theirs and another's, included."""
    office.sends(*rows(1, GONE), *rows(3, **NEW), registration(GONE, no_pendaftaran="R-9", **NEW))
    rules.correct()
    assert sums(retry_now()) == (2, 2, 0, 0)
    published()
    if when == "before the revision":
        erase_and_rotate()
        assert [key for key, _ in accepted()] == ["R-1", "R-2", "R-3", "R-9"]
    office.sends(*rows(5, GONE), revision=2)
    if when == "before the hold":
        erase_and_rotate()
    assert unbalanced() == []
    assert held() == [R2]
    assert accepted() == [("R-1", 2), ("R-3", 4)]
    assert right_tokens()
    assert unbalanced() == []
    assert let_in(R2) == 1
    assert accepted() == [("R-5", 2)]
    assert right_tokens()
    assert unbalanced() == []
    # Of both revisions, though each was loaded with the person in it or without.
    theirs = [(line, closed) for line, errors, closed in quarantined() if errors == ERASED]
    assert theirs == [(3, "erased"), (5, "erased"), (3, "erased")]
    assert query("select revision, status, rows_accepted, rows_quarantined from ops.slice order by 1") == [
        (1, "superseded", 2, 2),
        (2, "loaded", 1, 1),
    ]


def test_rows_that_were_quarantined_under_the_key_of_before_are_retried(office: Office, rules: Rules) -> None:
    office.sends(*rows(1), *rows(GONE, 3, **NEW))
    erase_and_rotate()
    rules.correct()
    assert sums(retry_now()) == (1, 1, 0, 0)
    assert accepted() == [("R-1", 2), ("R-3", 4)]
    assert quarantined() == [(3, UNKNOWN, "erased"), (4, UNKNOWN, "accepted")]
    assert right_tokens()
    assert unbalanced() == []


def test_the_key_changes_while_a_retry_is_under_way(
    office: Office, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were judged under the key of before are loaded with tokens of the warehouse's key."""
    office.sends(*rows(1), *rows(3, **NEW))
    rules.correct()
    judged = Rejudge.lines

    def lines(self: Rejudge, *arguments: Any) -> Any:
        parts = judged(self, *arguments)
        assert rotate(why="a test", who="a tester") is not None
        return parts

    monkeypatch.setattr(Rejudge, "lines", lines)
    assert sums(retry_now()) == (1, 1, 0, 0)
    assert accepted() == [("R-1", 2), ("R-3", 3)]
    assert right_tokens()


def test_a_backfill_reads_landing_under_a_key_that_landing_never_saw(office: Office, rules: Rules) -> None:
    office.sends(*rows(1, GONE), *rows(3, **NEW))
    erase_and_rotate()
    assert accepted() == [("R-1", 2), ("R-2", 3)]
    for _ in range(2):
        with connect("loader", autocommit=True) as conn:
            assert reread(conn, "KC001", DAY, DAY, NOTE).failed == {}
        assert accepted() == [("R-1", 2)]
        assert quarantined() == [(3, ERASED, "erased"), (4, UNKNOWN, None)]
        assert right_tokens()
        assert unbalanced() == []
        assert rotate(why="a test", who="a tester") is not None
        assert right_tokens()


def test_a_person_who_was_erased_under_an_earlier_key_is_kept_out_under_each_later_one(
    office: Office, rules: Rules
) -> None:
    office.sends(*rows(1, GONE))
    for revision in (2, 3):
        erase_and_rotate() if revision == 2 else rotate(why="a test", who="a tester")
        office.sends(*rows(GONE, 4), revision=revision)
        assert accepted() == [("R-4", 3)]
        assert right_tokens()
    assert unbalanced() == []
