"""Each fault earns the code that it names, and the play meets every code of the exchange."""

from datetime import date
from random import Random
from typing import Any

import pytest

from kkbc_play.simulator import reference
from kkbc_play.simulator.calendar import midnight
from kkbc_play.simulator.faults import ERRORS, WARNINGS, Fault, Messes
from kkbc_play.simulator.rows import COLUMNS, Row
from kkbc_play.simulator.strikes import Setting

DAY = date(2023, 12, 11)
NOON = midnight(DAY) + 43_200
TABLES = reference.load()
ERROR_CODES = {
    "pendaftaran": {
        *("ROW_SHAPE", "REQUIRED_MISSING", "VALUE_INVALID", "CODE_UNKNOWN", "BRANCH_MISMATCH", "NIK_FORMAT"),
        *("NIK_REGION", "NIK_DATE", "AGE_RANGE", "DATE_FUTURE", "INCOME_RANGE", "MONTHS_RANGE"),
    },
    "iuran": {
        *("ROW_SHAPE", "REQUIRED_MISSING", "VALUE_INVALID", "CODE_UNKNOWN", "BRANCH_MISMATCH", "NIK_FORMAT"),
        *("NIK_REGION", "NIK_DATE", "DATE_FUTURE", "MONTHS_RANGE", "AMOUNT_SUM", "NEGATIVE"),
    },
    "kegiatan": {
        *("ROW_SHAPE", "REQUIRED_MISSING", "VALUE_INVALID", "CODE_UNKNOWN", "BRANCH_MISMATCH"),
        *("DATE_FUTURE", "NEGATIVE", "PERIOD_ORDER"),
    },
}
WARNING_CODES = {
    "pendaftaran": {
        *("CODE_UNKNOWN", "NIK_BIRTH_DATE", "NIK_SEX", "INCOME_RANGE", "MONTHS_RANGE"),
        *("PHONE_FORMAT", "EMAIL_FORMAT", "DISTRICT_UNKNOWN"),
    },
    "iuran": {"CODE_UNKNOWN", "MONTHS_RANGE", "AMOUNT_TIER"},
    "kegiatan": {"CODE_UNKNOWN", "DISTRICT_UNKNOWN"},
}


def _setting(feed: str) -> Setting:
    return Setting(TABLES, feed, "KC044", DAY, NOON + 25_000, "csv", frozenset())


def _row(feed: str) -> Row:
    return Row(dict.fromkeys(COLUMNS[feed]) | {
        "nik": "3172065203909001",
        "kode_kantor": "KC044",
        "tgl_lahir": date(1990, 3, 12),
        "jenis_kelamin": "P",
        "tgl_pendaftaran": NOON,
        "tgl_bayar": NOON,
        "mulai": NOON,
        "selesai": NOON + 3600,
        "segmen": "MANDIRI",
        "periode_mulai": DAY,
        "jml_bulan": 3,
        "iuran_jkk": 30_000,
        "iuran_jkm": 20_400,
        "iuran_jht": 0,
        "total": 50_400,
        "jumlah_kontak": 40,
        "biaya": 0,
        "diubah_pada": NOON,
    })  # fmt: skip


def _of_every_feed(faults: dict[str, Any]) -> list[Any]:
    """Parameters of a test, named by what is the same in every process, as a function in memory is not."""
    return [
        pytest.param(feed, fault, id=f"{feed}-{fault.code}-{number}")
        for feed in faults
        for number, fault in enumerate(faults[feed])
    ]


@pytest.mark.parametrize(("feed", "fault"), _of_every_feed(ERRORS))
def test_an_error_earns_its_code(feed: str, fault: Fault) -> None:
    row = _row(feed)
    assert fault.strike(Random(1), row, _setting(feed))
    assert fault.code in row.errors
    assert row.nik_valid is not ("nik" in fault.columns or fault.code == "ROW_SHAPE")


@pytest.mark.parametrize(("feed", "fault"), _of_every_feed(WARNINGS))
def test_a_warning_earns_its_code_and_no_error(feed: str, fault: Fault) -> None:
    row = _row(feed)
    assert fault.strike(Random(1), row, _setting(feed))
    assert row.warnings == {fault.code}
    assert not row.errors
    assert row.nik_valid


@pytest.mark.parametrize("feed", ERRORS)
def test_the_decks_hold_every_code(feed: str) -> None:
    assert {fault.code for fault in ERRORS[feed]} == ERROR_CODES[feed]
    assert {fault.code for fault in WARNINGS[feed]} == WARNING_CODES[feed]


@pytest.mark.parametrize("feed", ERRORS)
def test_every_code_is_dealt_before_any_comes_twice(feed: str) -> None:
    messes, rng = Messes("deal"), Random(5)
    rows = [_row(feed) for _ in range(len(ERROR_CODES[feed]))]
    for row in rows:
        messes.spoil(rng, row, _setting(feed), errors=1, warnings=0)
    assert {code for row in rows for code in row.errors} >= ERROR_CODES[feed]


@pytest.mark.parametrize("day", ["2023-12-11", "2023-12-12", "2023-12-13", "2023-12-14"])
def test_every_error_code_is_met_every_night(truth: dict[str, Any], day: str) -> None:
    met = {q["code"] for q in truth["quarantine"] if q["business_date"] == day}
    assert met == set.union(*ERROR_CODES.values()) | {"KEY_DUPLICATE"}
