"""The table of codes of the branch exchange and the rules that settle it."""

import sys
import unicodedata
from typing import Any

import polars as pl
import pytest

from kkbc.exchange.contracts import load_contract
from kkbc.exchange.reference import codes as listed
from kkbc.exchange.registry import load_registry
from kkbc.intake.validation import duplicate_lines, judge, key_columns, parse
from kkbc.intake.validation.tidy import tidy
from tests.intake.validation.cases import (
    CASES,
    IDENTIFIERS,
    PAGE,
    REQUIRED,
    TEXTS,
    paid,
)
from tests.intake.validation.rows import OFFICES, VALID, batch, codes, context, judged, stored


@pytest.mark.parametrize(
    ("feed", "change", "errors", "warnings", "circumstances"),
    [pytest.param(*rest, id=name) for name, *rest in CASES],
)
def test_codes(
    feed: str, change: dict[str, str | None], errors: str, warnings: str, circumstances: dict[str, Any]
) -> None:
    assert codes(feed, change, **circumstances) == (set(errors.split()), set(warnings.split()))


def test_rows_whose_required_cells_all_hold_a_text_are_judged_alike_by_the_short_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = 0
    for _, feed, change, _, _, circumstances in CASES:
        rows, contract, of_case = batch(feed, [{**VALID[feed], **change}]), load_contract(feed), {}
        at = context(feed, **circumstances, **of_case)
        short = judge(rows, contract, at)
        with monkeypatch.context() as patch:
            patch.setattr(parse, "is_complete", lambda *cells: False)
            long = judge(rows, contract, at)
        cells = tidy(rows, contract.columns)
        taken += parse.is_complete(cells, contract.columns, parse.plain_columns(cells, contract.columns))
        assert short.accepted.equals(long.accepted)
        assert short.quarantined.equals(long.quarantined)
        assert short.nik_valid == long.nik_valid
    assert len(CASES) // 2 < taken < len(CASES)


@pytest.mark.parametrize("cell", [None, "", "-", "null", "NaN", "n/a", "\0", "  "])
@pytest.mark.parametrize(
    ("feed", "column"), [("iuran", "payment_channel"), ("iuran", "paid_at"), ("iuran", "months_covered")]
)
def test_a_required_cell_without_a_text_takes_the_long_way(feed: str, column: str, cell: str | None) -> None:
    contract = load_contract(feed)
    for changes, complete in (({}, True), ({column: cell}, False)):
        cells = tidy(batch(feed, [dict(VALID[feed]), {**VALID[feed], **changes}]), contract.columns)
        assert parse.is_complete(cells, contract.columns, parse.plain_columns(cells, contract.columns)) is complete


def test_every_code_of_the_page_is_produced_by_some_case() -> None:
    produced = {code for _, _, _, errors, warnings, _ in CASES for code in f"{errors} {warnings}".split()}
    assert produced | {"ROW_SHAPE", "KEY_DUPLICATE"} == PAGE


def test_codes_and_severities_of_the_contracts_are_those_of_the_page() -> None:
    contracts = [load_contract(feed) for feed in VALID]
    checks = [check for c in contracts for owner in (c, *c.columns) for check in owner.checks]
    assert {check.code for check in checks} == PAGE - {"ROW_SHAPE", "REQUIRED_MISSING", "VALUE_INVALID"}
    warnings = {"NIK_BIRTH_DATE", "NIK_SEX", "PHONE_FORMAT", "EMAIL_FORMAT", "DISTRICT_UNKNOWN", "AMOUNT_TIER"}
    both = {"CODE_UNKNOWN", "NIK_REGION", "INCOME_RANGE", "MONTHS_RANGE"}
    assert {c.code for c in checks if c.severity == "warning"} == warnings | both
    assert {c.code for c in checks if c.severity == "error"} == {c.code for c in checks} - warnings


def test_required_columns_of_the_contracts_are_those_of_the_page() -> None:
    for feed, columns in REQUIRED.items():
        assert {c.name for c in load_contract(feed).columns if c.required} == set(columns.split())


def test_rule_6_a_misshapen_row_stands_alone() -> None:
    rows = [dict(VALID["iuran"]), VALID["iuran"] | {"nik": None, "payment_channel": "X"}]
    result = judge(batch("iuran", rows, [True, False]), load_contract("iuran"), context("iuran"))
    assert result.accepted["_line"].to_list() == [2]
    assert result.quarantined.to_dicts() == [
        {"_line": 3, "_raw": "raw 3", "_errors": ["ROW_SHAPE"], "_warnings": [], "_fields": []}
    ]


def test_lists_are_sorted_distinct_and_name_the_fields() -> None:
    change = {"nik": "1", "phone": "x", "email": "x", "declared_income": "?", "birth_date": "?", "kpj": None}
    assert judged("pendaftaran", change).quarantined.to_dicts() == [
        {
            "_line": 2,
            "_raw": "raw 2",
            "_errors": ["NIK_FORMAT", "VALUE_INVALID"],
            "_warnings": ["EMAIL_FORMAT", "PHONE_FORMAT"],
            "_fields": [
                "birth_date:VALUE_INVALID",
                "declared_income:VALUE_INVALID",
                "email:EMAIL_FORMAT",
                "nik:NIK_FORMAT",
                "phone:PHONE_FORMAT",
            ],
        }
    ]
    accepted = judged("pendaftaran", {"phone": "x", "email": "x", "occupation_code": "X", "segment_code": "X"}).accepted
    assert accepted["_warnings"].to_list() == [["CODE_UNKNOWN", "EMAIL_FORMAT", "PHONE_FORMAT"]]


@pytest.mark.parametrize(
    ("phone", "expected"),
    [
        ("081234567890", "+6281234567890"),
        ("6281234567890", "+6281234567890"),
        ("+62 812-3456-7890", "+6281234567890"),
        ("81234567890", "+6281234567890"),
        ("(0812) 3456.7890", "+6281234567890"),
        ("'0812\u00a034567890", "+6281234567890"),
        ("0215551234", None),
        ("-", None),
    ],
)
def test_rule_12_phones_are_stored_as_e164(phone: str, expected: str | None) -> None:
    assert stored("pendaftaran", {"phone": phone}, "phone") == expected


@pytest.mark.parametrize(("email", "expected"), [(" a@b.co ", "a@b.co"), ("a@b", None), (None, None)])
def test_rule_12_bad_e_mail_is_stored_as_missing(email: str | None, expected: str | None) -> None:
    assert stored("pendaftaran", {"email": email}, "email") == expected


@pytest.mark.parametrize(("sent", "expected"), [("31.72.06", "317206"), ("31.72.99", "31.72.99"), ("-", None)])
def test_districts_are_stored_without_dots_when_known(sent: str, expected: str | None) -> None:
    assert stored("pendaftaran", {"district_code": sent}, "district_code") == expected


INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
BLANKS = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in {"Zs", "Zl", "Zp"})


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        *((f"{sign}R-{sign}77{sign}", "R-77") for sign in INVISIBLE),
        *((f"{blank}R-77{blank}", "R-77") for blank in BLANKS),
        (f"\u200b \ufeff'\u200b\u00a0R-77\u00a0\u00ad\t{INVISIBLE}", "R-77"),
        ("R\u00a077", "R\u00a077"),
        ("R\u202e77", "R\u202e77"),
        ("R\u2061\u061c", "R\u2061\u061c"),
    ],
)
def test_rule_28_invisible_characters_are_out_and_blanks_off(sent: str, expected: str) -> None:
    assert stored("pendaftaran", {"registration_no": sent}, "registration_no") == expected


@pytest.mark.parametrize("column", ["activity_name", "place"])
def test_rule_28_a_cell_of_invisible_characters_is_missing(column: str) -> None:
    change: dict[str, str | None] = {column: f" {INVISIBLE}\u00a0{INVISIBLE}"}
    assert codes("kegiatan", change) == ({"REQUIRED_MISSING"} if column == "activity_name" else set(), set())
    assert codes("kegiatan", {column: "N\u200bULL"}) == codes("kegiatan", change)


def test_rule_28_a_key_with_an_invisible_character_is_the_same_key() -> None:
    assert losers("iuran", {}, {"payment_id": "B-0001\u200b"}, {"payment_id": "\ufeffB-00\u00ad01"}) == [2, 3]


def test_rule_28_every_type_is_read_without_invisible_characters() -> None:
    for feed, row in VALID.items():
        changed = judged(feed, {}, {column: f"{cell}\u200b" for column, cell in row.items()}).accepted
        assert changed.drop("_line", "_raw").row(0) == changed.drop("_line", "_raw").row(1)


def test_odd_cells_do_not_touch_the_others_of_their_column() -> None:
    sent: list[str | None] = [
        "O'Neil",
        "'Nur'aini'",
        "Ma\u200bruf ",
        "#N/A",
        "a\x01",
        "Ñoño",
        "n" * 4_001,
        None,
        "Budi",
    ]
    result = judged("pendaftaran", *({"birth_place": cell} for cell in sent))
    assert result.accepted["birth_place"].to_list() == ["O'Neil", "Nur'aini'", "Maruf", "Ñoño", None, "Budi"]
    assert result.quarantined["_line"].to_list() == [5, 6, 8]
    assert set(result.quarantined["_fields"].explode()) == {"birth_place:VALUE_INVALID"}


def test_identifiers_of_the_contracts_are_those_of_the_page() -> None:
    for feed, columns in IDENTIFIERS.items():
        contract = load_contract(feed)
        assert {column.name for column in contract.columns if column.identifier} == set(columns.split())
        assert {column.max_length for column in contract.columns if column.identifier} == {200}
        assert {column.max_length for column in contract.columns if not column.identifier} == {4_000}
        texts = {column.name for column in contract.columns if column.type in {"text", "code"}}
        assert texts == set(f"{columns} {TEXTS[feed]}".split()) - {"month"}


def test_defaults() -> None:
    assert stored("pendaftaran", {"segment_code": "N/A"}, "segment_code") == "MANDIRI"
    assert stored("pendaftaran", {"segment_code": "lain"}, "segment_code") == "LAIN"
    assert stored("iuran", paid(30000, 20400, 0, jht_amount="", program_code="JKK_JKM"), "jht_amount") == 0


@pytest.mark.parametrize(
    ("nik", "valid"),
    [
        ("3172065503959001", 1),
        ("3199065503959001", 1),  # a warning is no error
        (None, 0),
        ("3,17206E+15", 0),
        ("317206", 0),
        ("9972065503959001", 0),
        ("3172067203959001", 0),
    ],
)
@pytest.mark.parametrize("other", [{}, {"record_status": "X"}])
def test_kpi_rule_4_valid_niks_are_counted_over_all_rows(nik: str | None, valid: int, other: dict[str, str]) -> None:
    assert judged("pendaftaran", {"nik": nik, "sex": "L", **other}).nik_valid == valid


def test_kpi_rule_4_a_misshapen_row_has_no_valid_nik() -> None:
    result = judge(batch("iuran", [VALID["iuran"]], [False]), load_contract("iuran"), context("iuran"))
    assert result.nik_valid == 0


def test_kpi_rule_4_feeds_without_nik_have_no_rate() -> None:
    assert judged("kegiatan", {}).nik_valid is None
    assert judged("target", {}).nik_valid is None


def test_every_known_district_lies_in_a_known_regency_and_province() -> None:
    """Why NIK_REGION looks up the district alone for its warning, and the province alone for its error."""
    districts, regencies = listed("districts.code"), listed("regencies.code")
    assert {code[:4] for code in districts} <= regencies
    assert {code[:2] for code in regencies} <= listed("provinces.code")
    assert {len(code) for code in districts} == {6}
    assert {len(code) for code in listed("provinces.code")} == {2}


def test_the_head_office_is_no_branch_office() -> None:
    assert len(OFFICES) == len(load_registry().branches) - 1
    assert "HQ" not in OFFICES


# KEY_DUPLICATE


def losers(feed: str, *changes: dict[str, str | None]) -> list[int]:
    contract = load_contract(feed)
    return duplicate_lines(judged(feed, *changes).accepted.select(key_columns(contract)), contract).to_list()


def test_rule_3_the_latest_updated_at_wins() -> None:
    assert losers("iuran", {"updated_at": "2023-12-11T11:00"}, {"updated_at": "2023-12-11T10:00"}) == [3]


def test_rule_3_by_instant() -> None:
    changes = [{"updated_at": "2023-12-11T11:00"}, {"updated_at": "2023-12-11T12:30+09:00"}]
    assert losers("iuran", *changes) == [3]


def test_rule_3_then_the_last_line_wins() -> None:
    assert losers("kegiatan", {}, {"activity_code": "A-2"}, {"activity_code": " A-1"}, {}) == [2, 4]


def test_rule_3_record_status_plays_no_part() -> None:
    batal = {"record_status": "BATAL", "updated_at": "2023-12-11T11:00"}
    assert losers("pendaftaran", batal, {"record_status": "BARU"}) == [3]


def test_rule_3_a_row_with_another_error_makes_none_lose() -> None:
    assert losers("pendaftaran", {}, {"updated_at": "2023-12-11T11:00", "nik": "1"}) == []


def test_rule_3_keys_are_distinguished_by_case() -> None:
    assert losers("pendaftaran", {}, {"registration_no": "p-0001"}) == []


def test_rule_13_the_last_line_of_a_target_wins() -> None:
    other_month = {"month": "2024-01"}
    assert losers("target", {}, other_month, {"target_new": "1"}, {"branch_id": "KC045"}) == [2]


def test_rule_13_order_of_batches_does_not_matter() -> None:
    contract = load_contract("target")
    keys = judged("target", {}, {}).accepted.select(key_columns(contract)).reverse()
    assert duplicate_lines(keys, contract).to_list() == [2]


def test_no_duplicates_of_no_rows() -> None:
    contract = load_contract("iuran")
    keys = judge(batch("iuran", []), contract, context("iuran")).accepted.select(key_columns(contract))
    assert duplicate_lines(keys, contract).dtype == pl.Int64
    assert duplicate_lines(keys, contract).is_empty()
