"""Contracts are data: what they name must exist, and what they say is what is judged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc.exchange.contracts import Check, Contract, load_contract
from kkbc.intake.validation import judge
from tests.intake.validation.rows import VALID, batch, context


def with_check(feed: str, column: str, check: Check) -> Contract:
    """The contract of `feed` with `column` checked by `check` alone."""
    contract = load_contract(feed)
    columns = [replace(c, checks=(check,)) if c.name == column else c for c in contract.columns]
    return replace(contract, columns=tuple(columns))


def errors_of(contract: Contract, **cells: str) -> list[str]:
    result = judge(batch(contract.feed, [VALID[contract.feed] | cells]), contract, context(contract.feed))
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
def test_a_contract_that_cannot_be_applied_is_the_users_to_fix(check: str, params: dict[str, Any], named: str) -> None:
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
    bare = replace(contract, columns=tuple(replace(column, not_missing=()) for column in contract.columns))
    assert errors_of(contract, activity_name="nan") == []
    assert errors_of(bare, activity_name="nan") == ["REQUIRED_MISSING"]


def a_contract(folder: Path, properties: list[dict[str, Any]]) -> Contract:
    """The contract of a feed that nobody has seen yet, with a key and `properties`."""
    key = {"name": "thing_no", "physicalName": "no_barang", "physicalType": "text", "primaryKey": True}
    table = {"name": "things", "physicalName": "barang", "properties": [key, *properties]}
    document = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "barang", "version": "1.0.0", "status": "draft"}
    document["customProperties"] = [{"property": "sender", "value": "branch"}]
    path = folder / "barang.odcs.yaml"
    path.write_text(yaml.safe_dump({**document, "schema": [table]}), encoding="utf-8")
    return load_contract("barang", folder)


@pytest.mark.parametrize(
    ("prop", "identifier"),
    [
        ({"physicalName": "kode_rak", "physicalType": "text"}, True),
        ({"physicalName": "jenis", "physicalType": "code"}, True),
        ({"physicalName": "bulan", "physicalType": "month"}, True),
        ({"physicalName": "pemilik", "physicalType": "text", "classification": "identifier"}, True),
        ({"physicalName": "rak", "physicalType": "text", "tags": ["identifier"]}, True),
        ({"physicalName": "catatan", "physicalType": "text"}, False),
        ({"physicalName": "harga", "physicalType": "idr"}, False),
        ({"physicalName": "tanggal", "physicalType": "date"}, False),
    ],
)
def test_rule_24_a_feed_yet_unknown_has_its_limits(tmp_path: Path, prop: dict[str, Any], identifier: bool) -> None:
    contract = a_contract(tmp_path, [{"name": "other", **prop}])
    column = contract.column("other")
    assert (column.identifier, column.max_length) == (identifier, 200 if identifier else 4_000)
    assert contract.column("thing_no").max_length == 200


def test_rule_24_a_contract_may_ask_for_less_and_not_for_more(tmp_path: Path) -> None:
    def note(length: int) -> dict[str, Any]:
        options = {"maxLength": length}
        return {"name": "note", "physicalName": "catatan", "physicalType": "text", "logicalTypeOptions": options}

    assert a_contract(tmp_path, [note(20)]).column("note").max_length == 20
    load_contract.cache_clear()
    with pytest.raises(UserError, match="note: maxLength must be between 1 and 4000"):
        a_contract(tmp_path, [note(4_001)])


def test_a_key_that_comes_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    good = (PROJECT_ROOT / "contracts" / "iuran.odcs.yaml").read_text(encoding="utf-8")
    path = tmp_path / "iuran.odcs.yaml"
    path.write_text(good, encoding="utf-8")
    assert load_contract("iuran", tmp_path) == load_contract("iuran")
    load_contract.cache_clear()
    line = good[: good.index("        classification:")].count("\n") + 1
    again = good.replace("        classification:", "        description: another\n        classification:", 1)
    path.write_text(again, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        load_contract("iuran", tmp_path)
    assert str(raised.value).startswith(f"contract {path} is broken: key 'description' comes twice")
    assert f"line {line}," in str(raised.value)
    assert "\n" not in str(raised.value)
