"""A living person who shares a name or a telephone number with one who is erased keeps their rows, wherever they stand.

In the vault such a value was known to be shared. These stand in quarantine, or in a slice that is held.
"""

from pathlib import Path

import pytest

from kkbc.core.settings import get_settings
from kkbc.rights import Erased, Wanted, erase
from tests.rights.scene import name, nik, phone, registration, unbalanced
from tests.slices.quarantine.conftest import office, root, rules  # noqa: F401 (fixtures)
from tests.slices.quarantine.scene import NEW, Office, Rules, accepted, quarantined, query, retry_now, sums
from tests.slices.quarantine.test_holding import R2, held, let_in, published

GONE, OTHER = 1, 2
ERASED = ["ERASED"]
SHARED = {"name": {"nama_lengkap": name(GONE)}, "telephone number": {"no_hp": phone(GONE)}}


def erased(*values: str) -> Erased:
    done = erase(Wanted((nik(GONE),), (1,), values), why="requested", who="a tester")
    assert done.findings == ()
    return done


def shared_values() -> int:
    """How many values the proof says it did not look for."""
    ((detail,),) = query("select detail from ops.erasure_step where step = 'found'")
    return int(detail["shared_values"])


def landed() -> str:
    return "".join(path.read_text() for path in Path(get_settings().landing).rglob("sent/*"))


@pytest.mark.parametrize("what", SHARED)
def test_a_row_in_quarantine_is_kept(office: Office, rules: Rules, what: str) -> None:  # noqa: F811
    office.sends(registration(GONE), registration(OTHER, **SHARED[what], **NEW), registration(GONE, **NEW))
    erased()
    # A number twice: as it was sent, and as vault has it.
    assert shared_values() == (1 if what == "name" else 2)
    assert quarantined() == [(3, ["CODE_UNKNOWN"], None), (4, ["CODE_UNKNOWN"], "erased")]
    rules.correct()
    assert sums(retry_now()) == (1, 1, 0, 0)
    assert query("select nik from vault.registrations") == [(nik(OTHER),)]
    assert nik(GONE) not in landed()
    assert unbalanced() == []


def test_a_row_of_a_slice_that_is_held_is_kept(office: Office, rules: Rules) -> None:  # noqa: F811
    office.sends(registration(GONE))
    published()
    office.sends(registration(GONE), registration(OTHER, **SHARED["name"]), revision=2)
    assert held() == [R2]
    erased()
    assert let_in(R2) == 1
    assert accepted() == [(f"R-{OTHER:04}", 3)]
    assert nik(GONE) not in landed()
    assert phone(GONE) not in landed()


def test_a_row_with_a_mistyped_nik_goes_with_the_person(office: Office, rules: Rules) -> None:  # noqa: F811
    """Name and telephone number are two of theirs; a NIK that is none is nobody's."""
    both = SHARED["name"] | SHARED["telephone number"]
    none = SHARED["name"] | {"nik": "3172"}
    office.sends(registration(GONE), registration(OTHER, **both, **NEW), registration(3, **none))
    erased()
    assert shared_values() == 0
    assert [closed for _, _, closed in quarantined()] == ["erased", "erased"]
    assert name(GONE) not in landed()
    assert phone(GONE) not in landed()


def test_a_value_that_the_request_calls_theirs_is_theirs(office: Office, rules: Rules) -> None:  # noqa: F811
    office.sends(registration(GONE), registration(OTHER, **SHARED["name"], **NEW))
    erased(name(GONE))
    assert [closed for _, _, closed in quarantined()] == ["erased"]
    assert name(GONE) not in landed()
