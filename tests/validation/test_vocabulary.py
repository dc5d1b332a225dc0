"""Contracts are data: what they name must exist, and what they say is what is judged."""

from dataclasses import replace
from typing import Any

import pytest

from kkbc.contracts import Check, Contract, load_contract
from kkbc.errors import UserError
from kkbc.validation import judge
from tests.validation.rows import LAWFUL, batch, context


def with_check(feed: str, column: str, check: Check) -> Contract:
    """The contract of `feed` with `column` checked by `check` alone."""
    contract = load_contract(feed)
    columns = [replace(c, checks=(check,)) if c.name == column else c for c in contract.columns]
    return replace(contract, columns=tuple(columns))


def errors_of(contract: Contract, **cells: str) -> list[str]:
    result = judge(batch(contract.feed, [LAWFUL[contract.feed] | cells]), contract, context(contract.feed))
    return result.quarantined["_errors"].explode().to_list()


@pytest.mark.parametrize(
    ("check", "params", "named"),
    [
        ("no_such_check", {}, "no_such_check"),
        ("range", {"least": 1}, "least"),
        ("one_of", {}, "values"),
        ("one_of", {"reference": "districts.no_such_column"}, "no_such_column"),
        ("one_of", {"reference": "no_such_table.code"}, "no_such_table"),
    ],
)
def test_a_contract_that_cannot_be_applied_is_the_users_to_mend(check: str, params: dict[str, Any], named: str) -> None:
    contract = with_check("kegiatan", "contacts", Check("NEGATIVE", "error", check, params))
    with pytest.raises(UserError, match=named) as raised:
        errors_of(contract)
    if not named.startswith("no_such_") or check == named:
        assert "kegiatan" in str(raised.value)
        assert repr(check) in str(raised.value)


def test_bounds_are_those_of_the_contract() -> None:
    contract = with_check("kegiatan", "contacts", Check("NEGATIVE", "error", "range", {"min": -5, "max": 10}))
    assert errors_of(contract, contacts="10") == errors_of(contract, contacts="-5") == []
    assert errors_of(contract, contacts="11") == errors_of(contract, contacts="-6") == ["NEGATIVE"]


def test_severity_is_that_of_the_contract() -> None:
    check = Check("NEGATIVE", "warning", "not_negative", {})
    assert errors_of(with_check("kegiatan", "contacts", check), contacts="-1") == []


def test_tokens_that_are_values_are_those_of_the_contract() -> None:
    contract = load_contract("kegiatan")
    bare = replace(contract, columns=tuple(replace(column, lawful=()) for column in contract.columns))
    assert errors_of(contract, activity_name="nan") == []
    assert errors_of(bare, activity_name="nan") == ["REQUIRED_MISSING"]
