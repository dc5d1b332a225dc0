"""Nights with erasures, restrictions and changes of the key between them come to what the rules say.

The marts are those of the same history in which the rows of erased persons were quarantined from then on and restricted
persons left out, recomputed in plain Python.
"""

import random
from collections import defaultdict
from typing import Any

import pytest

from kkbc.marts.verify import verify_against_rebuild
from kkbc.warehouse import server
from tests.dbt_project.conftest import read_mart
from tests.dbt_project.recompute import Recomputed
from tests.dbt_project.test_all_marts import MARTS
from tests.dbt_project.test_publication import differing

from .histories import FIRST, History, Installation, installation
from .scene import rows, unbalanced

ALL = ("erase", "restrict", "rotate", "retry", "read again", "erase", "release", "roll back")
# Seed, nights, what happens between them, and what happens behind the last one, when the marts were rebuilt aside.
HISTORIES = (
    pytest.param(1, 2, ("erase", "restrict", "rotate", "read again"), (), id="1-2"),
    *(pytest.param(seed, 4, ALL * 2, ("rotate", "erase"), id=f"{seed}-4") for seed in (2, 3, 4)),
)


@pytest.mark.parametrize(("seed", "nights", "kinds", "behind"), HISTORIES)
def test_every_night_has_the_marts_of_a_history_without_the_erased(
    pg: server.Server, seed: int, nights: int, kinds: tuple[str, ...], behind: tuple[str, ...]
) -> None:
    chance = random.Random(seed)
    deck = chance.sample(kinds, len(kinds))
    with installation(pg) as real:
        history = History(chance, real)
        history.night()
        compare(history)
        for number in range(nights - 1):
            for kind in deck[number :: nights - 1]:
                history.event(kind)
                assert unbalanced() == []
            history.night()
            compare(history)
        if behind:
            assert all(compared.equal for compared in verify_against_rebuild())
        for kind in behind:
            history.event(kind)
        every_publication_comes_back(history, real)


def compare(history: History) -> None:
    """What was built and published against the model, to the last digit, and persons as sets of what is theirs."""
    (as_of,) = rows("select as_of from bi.publication")[0]
    expected = Recomputed(history.model.world(), FIRST, as_of)
    for mart in MARTS:
        found, wanted = read_mart(mart), getattr(expected, mart)()
        assert set(found) == set(wanted), (mart, history.told)
        for key, row in wanted.items():
            exact = {n: pytest.approx(v, rel=1e-14) if isinstance(v, float) else v for n, v in row.items()}
            assert found[key] == exact, (mart, key, history.told)
    assert differing() == [], history.told
    theirs: dict[Any, set[Any]] = defaultdict(set)
    for fact, key in (("registration", "registration_no"), ("contribution", "payment_id")):
        for token, *of in rows(f"select participant_token, branch_id, {key} from bi_detail.fct_{fact}"):
            theirs[token].add((fact, *of))
    wanted_of: dict[Any, set[Any]] = defaultdict(set)
    for row in expected.registrations:
        wanted_of[row["participant_token"]].add(("registration", row["branch_id"], row["registration_no"]))
    for row in expected.payments:
        wanted_of[row["participant_token"]].add(("contribution", row["branch_id"], row["payment_id"]))
    assert sorted(map(sorted, theirs.values())) == sorted(map(sorted, wanted_of.values())), history.told


def every_publication_comes_back(history: History, real: Installation) -> None:
    """To the rupiah, though persons were erased and tokens changed since."""
    for to in sorted(real.published):
        if real.published[to] is not real.published[real.live()]:
            real.roll_back(to)
