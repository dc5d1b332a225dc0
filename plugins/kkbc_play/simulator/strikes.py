"""One way each to break a clean row: what it changes, and which codes that earns."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from kkbc_play.simulator.calendar import DAY, add_months, age_on, jakarta_day, midnight
from kkbc_play.simulator.reference import Reference
from kkbc_play.simulator.rows import COLUMNS, IURAN, KEGIATAN, PENDAFTARAN, TYPED, Kind, Row
from kkbc_play.simulator.spelling import MISSING

TABLE = "table"
"""The format of a way that hands over typed rows."""


@dataclass(frozen=True)
class Setting:
    """Where a row is broken: what of its delivery matters to the rules."""

    reference: Reference
    feed: str
    branch_id: str
    business_date: date
    sent_at: int
    format: str
    lacking: frozenset[str]


Strike = Callable[[Random, Row, Setting], bool]


# Errors


def shape(rng: Random, row: Row, setting: Setting) -> bool:
    if setting.format in {"xlsx", TABLE}:  # neither a sheet nor a table has short rows
        return False
    row.cells = rng.choice((-3, -1, 1, 2))
    row.errors.add("ROW_SHAPE")
    row.nik_valid = False
    return True


def missing(column: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        tokens = [
            token for token in MISSING if not (COLUMNS[setting.feed][column] is Kind.NAME and token.lower() == "nan")
        ]
        if setting.format == TABLE and (COLUMNS[setting.feed][column] in TYPED or rng.random() < 0.5):
            return _break(row, "REQUIRED_MISSING", column, None)
        return _break(row, "REQUIRED_MISSING", column, rng.choice(tokens))

    return strike


def invalid(column: str, *texts: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        if setting.format == TABLE:  # a typed column holds nothing of the kind
            return False
        return _break(row, "VALUE_INVALID", column, rng.choice(texts))

    return strike


def excel_nik(rng: Random, row: Row, setting: Setting) -> bool:
    nik = row.text("nik")
    if setting.format == "xlsx" and rng.random() < 0.5:
        return _break(row, "VALUE_INVALID", "nik", float(nik))
    mantissa = f"{int(nik) / 10**15:.5f}"
    return _break(row, "VALUE_INVALID", "nik", rng.choice((mantissa, mantissa.replace(".", ","))) + "E+15")


def unknown(column: str, *texts: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        return _break(row, "CODE_UNKNOWN", column, rng.choice(texts))

    return strike


def other_branch(rng: Random, row: Row, setting: Setting) -> bool:
    others = [branch_id for branch_id in setting.reference.ids if branch_id != setting.branch_id]
    return _break(row, "BRANCH_MISMATCH", "kode_kantor", rng.choice((rng.choice(others), "KC999", "PUSAT")))


def nik_format(rng: Random, row: Row, setting: Setting) -> bool:
    nik = row.text("nik")
    texts = (nik[:15], f"{nik}7", f"{nik[:11]}O{nik[12:]}", f"{nik[:12]}0000", f"{nik[:6]} {nik[6:]}")
    return _break(row, "NIK_FORMAT", "nik", rng.choice(texts))


def nik_zero(rng: Random, row: Row, setting: Setting) -> bool:
    row.errors |= {"NIK_REGION", "NIK_DATE"}
    return _break(row, "NIK_FORMAT", "nik", "0" * 16)


def nik_province(rng: Random, row: Row, setting: Setting) -> bool:
    return _break(row, "NIK_REGION", "nik", rng.choice(("00", "10", "20", "45", "99")) + row.text("nik")[2:])


def nik_date(rng: Random, row: Row, setting: Setting) -> bool:
    nik = row.text("nik")
    texts = (
        "000190",
        "320190",
        "400190",
        "720585",
        "311185",
        "710485",
        "300290",
        "290201",
        "690283",
        "151399",
        "150099",
    )
    return _break(row, "NIK_DATE", "nik", nik[:6] + rng.choice(texts) + nik[12:])


def age(rng: Random, row: Row, setting: Setting) -> bool:
    day = jakarta_day(row.number("tgl_pendaftaran"))
    births = [add_months(day, -12 * 66), day - timedelta(days=rng.randint(67 * 366, 80 * 365))]
    births += [add_months(day, -12 * 15) + timedelta(days=1), day - timedelta(days=rng.randint(2000, 5000))]
    if row.values["segmen"] != "PKL":
        births += [add_months(day, -12 * 15), add_months(day, -12 * 18) + timedelta(days=1)]
    births = [
        birth for birth in births if not (15 if row.values["segmen"] == "PKL" else 18) <= age_on(birth, day) <= 65
    ]
    row.values["tgl_lahir"] = rng.choice(births)
    row.errors.add("AGE_RANGE")
    return True


def future_event(column: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        if setting.feed == PENDAFTARAN and not 19 <= age_on(row.day("tgl_lahir"), setting.business_date) <= 63:
            return False
        end = midnight(setting.business_date) + DAY
        ahead = rng.choice((0, 1, rng.randint(1, DAY), rng.randint(DAY, 300 * DAY)))
        row.values[column] = end + ahead
        if setting.feed == KEGIATAN:
            row.values["selesai"] = end + ahead + 3600
        row.errors.add("DATE_FUTURE")
        return True

    return strike


def future_update(rng: Random, row: Row, setting: Setting) -> bool:
    row.values["diubah_pada"] = (
        setting.sent_at + DAY + rng.choice((1, rng.randint(1, DAY), rng.randint(DAY, 9_000 * DAY)))
    )
    row.errors.add("DATE_FUTURE")
    return True


def income(rng: Random, row: Row, setting: Setting) -> bool:
    return _change(row, "INCOME_RANGE", penghasilan=rng.choice((0, -1_500_000)))


def months(rng: Random, row: Row, setting: Setting) -> bool:
    return _change(row, "MONTHS_RANGE", jml_bulan=rng.choice((0, 13, -1, 24)))


def wrong_sum(rng: Random, row: Row, setting: Setting) -> bool:
    return _change(row, "AMOUNT_SUM", total=row.number("total") + rng.choice((-100, 1, 6_800)))


def negative_amount(rng: Random, row: Row, setting: Setting) -> bool:
    jkk = -row.number("iuran_jkk")
    if rng.random() < 0.5:
        row.errors.add("AMOUNT_SUM")
    else:
        row.values["total"] = jkk + row.number("iuran_jkm") + row.number("iuran_jht")
    return _change(row, "NEGATIVE", iuran_jkk=jkk)


def negative_count(rng: Random, row: Row, setting: Setting) -> bool:
    column = rng.choice(("jumlah_kontak", "biaya"))
    return _change(row, "NEGATIVE", **{column: -rng.randint(1, 500)})


def period(rng: Random, row: Row, setting: Setting) -> bool:
    return _change(row, "PERIOD_ORDER", selesai=row.number("mulai") - rng.choice((1, 3600, 3 * DAY)))


# Warnings


def warn_unknown(column: str, *codes: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        if column in setting.lacking:
            return False
        if column == "segmen" and age_on(row.day("tgl_lahir"), jakarta_day(row.number("tgl_pendaftaran"))) < 18:
            return False
        row.values[column] = rng.choice(codes)
        row.warnings.add("CODE_UNKNOWN")
        return True

    return strike


def birth_date(rng: Random, row: Row, setting: Setting) -> bool:
    birth = row.day("tgl_lahir")
    if not 19 <= age_on(birth, setting.business_date - timedelta(days=430)) <= 62:
        return False
    row.values["tgl_lahir"] = birth + timedelta(days=rng.choice((-30, -9, -1, 1, 2, 365)))
    row.warnings.add("NIK_BIRTH_DATE")
    return True


def sex(rng: Random, row: Row, setting: Setting) -> bool:
    row.values["jenis_kelamin"] = "L" if row.values["jenis_kelamin"] == "P" else "P"
    row.warnings.add("NIK_SEX")
    return True


def high_income(rng: Random, row: Row, setting: Setting) -> bool:
    row.values["penghasilan"] = rng.choice((1_000_000_001, 2_500_000_000))
    row.warnings.add("INCOME_RANGE")
    return True


def odd_months(rng: Random, row: Row, setting: Setting) -> bool:
    months = rng.choice((4, 5, 7, 8, 9, 10, 11))
    if setting.feed == IURAN:
        before = row.number("jml_bulan")
        for column in ("iuran_jkk", "iuran_jkm", "iuran_jht", "total"):
            row.values[column] = row.number(column) // before * months
    row.values["jml_bulan"] = months
    row.warnings.add("MONTHS_RANGE")
    return True


def contact(column: str, code: str, *texts: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        if column in setting.lacking:
            return False
        row.values[column] = None
        row.spelled[column] = rng.choice(texts)
        row.warnings.add(code)
        return True

    return strike


def district(rng: Random, row: Row, setting: Setting) -> bool:
    row.values["kode_wilayah"] = rng.choice(("999999", "317299", "3172", "00.00.00", "KEC. BARU"))
    row.warnings.add("DISTRICT_UNKNOWN")
    return True


def tier(rng: Random, row: Row, setting: Setting) -> bool:
    if row.day("periode_mulai") > setting.reference.tiers_until:
        return False
    row.values["iuran_jkk"] = row.number("iuran_jkk") + 500
    row.values["total"] = row.number("total") + 500
    row.warnings.add("AMOUNT_TIER")
    return True


def _break(row: Row, code: str, column: str, text: str | float | None) -> bool:
    row.spelled[column] = text
    row.errors.add(code)
    if column == "nik":
        row.nik_valid = False
    return True


def _change(row: Row, code: str, **values: int) -> bool:
    row.values.update(values)
    row.errors.add(code)
    return True
