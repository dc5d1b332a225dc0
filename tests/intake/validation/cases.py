"""Cases of the table of codes of the branch exchange, one a line, boundaries on both sides; and what the page says."""

from datetime import UTC, date, datetime
from typing import Any

from tests.intake.validation.rows import SENT_AT, VALID

PAGE = {
    "ROW_SHAPE",
    "REQUIRED_MISSING",
    "VALUE_INVALID",
    "CODE_UNKNOWN",
    "BRANCH_MISMATCH",
    "NIK_FORMAT",
    "NIK_REGION",
    "NIK_DATE",
    "NIK_BIRTH_DATE",
    "NIK_SEX",
    "AGE_RANGE",
    "DATE_FUTURE",
    "INCOME_RANGE",
    "MONTHS_RANGE",
    "PHONE_FORMAT",
    "EMAIL_FORMAT",
    "DISTRICT_UNKNOWN",
    "AMOUNT_SUM",
    "AMOUNT_TIER",
    "PERIOD_ORDER",
    "NEGATIVE",
    "KEY_DUPLICATE",
}

REQUIRED = {
    "pendaftaran": "registration_no branch_id registered_at nik full_name birth_date sex occupation_code "
    "declared_income program_code months_covered channel_code record_status updated_at",
    "iuran": "payment_id branch_id nik paid_at payment_channel coverage_start months_covered program_code jkk_amount "
    "jkm_amount total_amount record_status updated_at",
    "kegiatan": "activity_code branch_id activity_type activity_name started_at ended_at contacts record_status "
    "updated_at",
    "target": "branch_id month target_new target_active target_idr",
}


def born(day: str, sex: str = "P") -> dict[str, str | None]:
    """Birth date, sex and a NIK that fits them."""
    year, month, number = day.split("-")
    day_code = int(number) + (40 if sex == "P" else 0)
    return {"birth_date": day, "sex": sex, "nik": f"317206{day_code:02}{month}{year[2:]}9001"}


def paid(jkk: int, jkm: int, jht: int, **other: str | None) -> dict[str, str | None]:
    amounts = {"jkk_amount": str(jkk), "jkm_amount": str(jkm), "jht_amount": str(jht)}
    return {**amounts, "total_amount": str(jkk + jkm + jht), **other}


Case = tuple[str, str, dict[str, str | None], str, str, dict[str, Any]]


def case(name: str, feed: str, change: dict[str, str | None], errors: str = "", warnings: str = "", **kw: Any) -> Case:
    return name, feed, change, errors, warnings, kw


AMOUNTS = ("jkk_amount", "jkm_amount", "jht_amount", "total_amount")
# What the exchange calls a key, a code or an identifier (Exchange rules 24, 26), and its other columns of text.
IDENTIFIERS = {
    "pendaftaran": "registration_no branch_id nik kpj sex postal_code district_code occupation_code program_code "
    "channel_code activity_code officer_code segment_code record_status",
    "iuran": "payment_id branch_id nik payment_channel program_code record_status",
    "kegiatan": "activity_code branch_id activity_type district_code target_occupation record_status",
    "target": "branch_id month",
}
TEXTS = {
    "pendaftaran": "full_name birth_place phone email address work_place work_start work_end",
    "iuran": "",
    "kegiatan": "activity_name place radio_station",
    "target": "",
}
EVERY_COLUMN = [(feed, column) for feed, row in VALID.items() for column in row]

SEEN_AT = datetime(2023, 12, 11, 13, tzinfo=UTC)
CLOCK_AHEAD = datetime(2031, 1, 1, tzinfo=UTC)

FEBRUARY_28, MARCH_1 = date(2023, 2, 28), date(2023, 3, 1)
EARLIER = {"updated_at": "2023-02-28T01:00"}

CASES: list[Case] = [
    *(case(f"valid row of {feed}", feed, {}) for feed in VALID),
    # REQUIRED_MISSING
    *(
        case(f"REQUIRED_MISSING {feed}.{column}", feed, {column: missing}, "REQUIRED_MISSING")
        for feed, columns in REQUIRED.items()
        for column in columns.split()
        for missing in (None, " ")
    ),
    *(
        case(f"exchange: {token!r} is missing", "pendaftaran", {"occupation_code": token}, "REQUIRED_MISSING")
        for token in ("", "-", "NULL", "null", "nan", "NaN", "N/A", "n/a", " \t", "\u00a0", "'", "'-", " ' NULL ")
    ),
    *(
        case(f"optional {feed}.{column} may be missing", feed, {column: None})
        for feed in VALID
        for column in VALID[feed]
        if column not in REQUIRED[feed].split() and column != "jht_amount"
    ),
    case("rule 18 nan is a name", "pendaftaran", {"full_name": "Nan"}),
    case("rule 18 nan is a name of activities", "kegiatan", {"activity_name": "nan"}),
    case("rule 18 but NULL is none", "pendaftaran", {"full_name": "null"}, "REQUIRED_MISSING"),
    # VALUE_INVALID
    case("VALUE_INVALID date", "pendaftaran", {"birth_date": "31/02/1995"}, "VALUE_INVALID"),
    case("VALUE_INVALID timestamp", "pendaftaran", {"registered_at": "kemarin"}, "VALUE_INVALID"),
    case("VALUE_INVALID int", "pendaftaran", {"months_covered": "tiga"}, "VALUE_INVALID"),
    case("VALUE_INVALID idr", "pendaftaran", {"declared_income": "1.5"}, "VALUE_INVALID"),
    case("VALUE_INVALID month", "target", {"month": "2023-13"}, "VALUE_INVALID"),
    case("VALUE_INVALID optional", "kegiatan", {"cost": "gratis"}, "VALUE_INVALID"),
    case("rule 6 NIK 3,17206E+15", "pendaftaran", {"nik": "3,17206E+15"}, "VALUE_INVALID"),
    case("rule 6 NIK 3.17206E+15", "iuran", {"nik": "3.17206E+15"}, "VALUE_INVALID"),
    case("rule 17 NIK from a numeric cell", "iuran", {"nik": "3.17206550396E+15"}, "VALUE_INVALID"),
    # Rule 6: a missing or unreadable value earns only that code
    case("rule 6 no AGE_RANGE without birth date", "pendaftaran", {"birth_date": "?"}, "VALUE_INVALID"),
    case("rule 6 no AGE_RANGE without day", "pendaftaran", {"registered_at": None}, "REQUIRED_MISSING"),
    case("rule 6 no AMOUNT_SUM without total", "iuran", {"total_amount": "?"}, "VALUE_INVALID"),
    case("rule 6 no AMOUNT_SUM without a part", "iuran", {"jkk_amount": None}, "REQUIRED_MISSING"),
    case("rule 6 unreadable iuran_jht is not 0", "iuran", {"jht_amount": "?"}, "VALUE_INVALID"),
    case("rule 6 no AMOUNT_TIER without months", "iuran", {"months_covered": "?"}, "VALUE_INVALID"),
    case("rule 6 no AMOUNT_TIER without start", "iuran", paid(1, 1, 1, coverage_start="?"), "VALUE_INVALID"),
    case("rule 6 no PERIOD_ORDER without end", "kegiatan", {"ended_at": "?"}, "VALUE_INVALID"),
    case("rule 6 two fields", "kegiatan", {"ended_at": "?", "contacts": None}, "VALUE_INVALID REQUIRED_MISSING"),
    # CODE_UNKNOWN
    *(
        case(f"CODE_UNKNOWN {feed}.{column}", feed, {column: "LAIN"}, "CODE_UNKNOWN")
        for feed, column in (
            ("pendaftaran", "record_status"),
            ("pendaftaran", "channel_code"),
            ("pendaftaran", "program_code"),
            ("iuran", "record_status"),
            ("kegiatan", "activity_type"),
            ("kegiatan", "record_status"),
        )
    ),
    case("rule 10 an unknown programme has no jht", "iuran", {"program_code": "LAIN"}, "CODE_UNKNOWN", "AMOUNT_TIER"),
    case("CODE_UNKNOWN sex", "pendaftaran", {"sex": "X"}, "CODE_UNKNOWN", "NIK_SEX"),
    case("CODE_UNKNOWN occupation", "pendaftaran", {"occupation_code": "ASTRONAUT"}, "", "CODE_UNKNOWN"),
    case("CODE_UNKNOWN payment channel", "iuran", {"payment_channel": "DANA"}, "", "CODE_UNKNOWN"),
    case("CODE_UNKNOWN segment", "pendaftaran", {"segment_code": "LAIN"}, "", "CODE_UNKNOWN"),
    case("rule 11 sasaran_pekerjaan", "kegiatan", {"target_occupation": "ASTRONAUT"}, "", "CODE_UNKNOWN"),
    case("rule 11 upper case", "pendaftaran", {"record_status": " koreksi", "sex": "p", "channel_code": "'radio"}),
    case("rule 11 target of another office", "target", {"branch_id": "kc122"}),
    case("rule 11 target of no office", "target", {"branch_id": "KC123"}, "CODE_UNKNOWN"),
    case("rule 11 target of head office", "target", {"branch_id": "HQ"}, "CODE_UNKNOWN"),
    # BRANCH_MISMATCH
    case("BRANCH_MISMATCH known branch", "iuran", {"branch_id": "KC045"}, "BRANCH_MISMATCH"),
    case("rule 11 unknown branch", "pendaftaran", {"branch_id": "KC999"}, "BRANCH_MISMATCH"),
    case("rule 11 own branch in small letters", "kegiatan", {"branch_id": " kc044 "}),
    # NIK
    case("NIK_FORMAT 15 digits", "pendaftaran", {"nik": "317206550395900"}, "NIK_FORMAT"),
    case("NIK_FORMAT 17 digits", "iuran", {"nik": "31720655039590011"}, "NIK_FORMAT"),
    case("NIK_FORMAT letters", "iuran", {"nik": "31720655O3959001"}, "NIK_FORMAT"),
    case("NIK_FORMAT other digits", "iuran", {"nik": "٣172065503959001"}, "NIK_FORMAT"),
    case("rule 6 not 16 digits: no other NIK code", "pendaftaran", {"nik": "999999999999"}, "NIK_FORMAT"),
    case("NIK_FORMAT serial 0000", "pendaftaran", {"nik": "3172065503950000"}, "NIK_FORMAT"),
    case("rule 6 serial 0000: others apply", "iuran", {"nik": "9972065513950000"}, "NIK_FORMAT NIK_REGION NIK_DATE"),
    case("exchange: apostrophe and blanks", "iuran", {"nik": "\u00a0'3172065503959001\t"}),
    case("NIK_REGION province", "iuran", {"nik": "9972065503959001"}, "NIK_REGION"),
    case("NIK_REGION province of 2022", "iuran", {"nik": "9501015503959001"}),
    case("NIK_REGION regency", "pendaftaran", {"nik": "3199065503959001"}, "", "NIK_REGION"),
    case("NIK_REGION district", "pendaftaran", {"nik": "3172995503959001"}, "", "NIK_REGION"),
    case("NIK_DATE month 13", "iuran", {"nik": "3172065513959001"}, "NIK_DATE"),
    case("NIK_DATE month 00", "iuran", {"nik": "3172065500959001"}, "NIK_DATE"),
    *(
        case(f"rule 7 NIK day {day} of {month}/{year}", "iuran", {"nik": f"317206{day}{month}{year}9001"}, expected)
        for day, month, year, expected in (
            ("00", "01", "95", "NIK_DATE"),
            ("01", "01", "95", ""),
            ("31", "01", "95", ""),
            ("32", "01", "95", "NIK_DATE"),
            ("40", "01", "95", "NIK_DATE"),
            ("41", "01", "95", ""),
            ("71", "01", "95", ""),
            ("72", "01", "95", "NIK_DATE"),
            ("31", "04", "95", "NIK_DATE"),
            ("70", "04", "95", ""),
            ("71", "04", "95", "NIK_DATE"),
            ("29", "02", "95", "NIK_DATE"),
            ("69", "02", "96", ""),
            ("30", "02", "96", "NIK_DATE"),
            ("29", "02", "00", ""),
        )
    ),
    case("NIK_BIRTH_DATE", "pendaftaran", {"birth_date": "1995-03-16"}, "", "NIK_BIRTH_DATE"),
    case("rule 7 a day of 20YY will do", "pendaftaran", born("2005-03-15")),
    case("rule 7 a day of 21YY will not", "pendaftaran", born("2100-03-15"), "AGE_RANGE", "NIK_BIRTH_DATE"),
    case("rule 7 only when the date exists", "pendaftaran", {"nik": "3172067203959001", "sex": "L"}, "NIK_DATE"),
    case("NIK_SEX", "pendaftaran", {"sex": "L"}, "", "NIK_SEX"),
    case("NIK_SEX of men", "pendaftaran", born("1995-03-31", "L") | {"sex": "P"}, "", "NIK_SEX"),
    case("men", "pendaftaran", born("1995-03-31", "L")),
    # AGE_RANGE
    case("AGE_RANGE 15 today", "pendaftaran", born("2008-12-11") | {"segment_code": "PKL"}),
    case("AGE_RANGE 15 tomorrow", "pendaftaran", born("2008-12-12") | {"segment_code": "PKL"}, "AGE_RANGE"),
    case("AGE_RANGE 17", "pendaftaran", born("2005-12-12"), "AGE_RANGE"),
    case("AGE_RANGE 17 as pupil", "pendaftaran", born("2005-12-12") | {"segment_code": "pkl"}),
    case("AGE_RANGE 17 sponsored", "pendaftaran", born("2005-12-12") | {"segment_code": "PEKERJA_RENTAN"}, "AGE_RANGE"),
    case("rule 8 17, segment missing", "pendaftaran", born("2005-12-12") | {"segment_code": None}, "AGE_RANGE"),
    case(
        "rule 8 17, segment unknown",
        "pendaftaran",
        born("2005-12-12") | {"segment_code": "X"},
        "AGE_RANGE",
        "CODE_UNKNOWN",
    ),
    case("AGE_RANGE 18 today", "pendaftaran", born("2005-12-11")),
    case("AGE_RANGE 65", "pendaftaran", born("1957-12-12")),
    case("rule 8 66 is over 65", "pendaftaran", born("1957-12-11"), "AGE_RANGE"),
    case("AGE_RANGE born later", "pendaftaran", born("2023-12-12"), "AGE_RANGE"),
    case(
        "rule 8 born 29 Feb, on 28 Feb",
        "pendaftaran",
        born("2008-02-29") | EARLIER | {"segment_code": "PKL", "registered_at": "2023-02-28T09:00"},
        "AGE_RANGE",
        business_date=FEBRUARY_28,
    ),
    case(
        "rule 8 born 29 Feb, on 1 Mar",
        "pendaftaran",
        born("2008-02-29") | EARLIER | {"segment_code": "PKL", "registered_at": "2023-03-01T09:00"},
        business_date=MARCH_1,
    ),
    case(
        "rule 8 the day is that of Jakarta",
        "pendaftaran",
        born("2008-12-12") | {"segment_code": "PKL", "registered_at": "2023-12-12T01:30"},
        "AGE_RANGE",
        zone="Asia/Jayapura",
    ),
    *(
        case(f"rule 8 for {status}", "pendaftaran", born("1957-12-11") | {"record_status": status}, "AGE_RANGE")
        for status in ("KOREKSI", "BATAL")
    ),
    case("rule 9 BATAL must pass all rules", "iuran", {"record_status": "BATAL", "nik": "1"}, "NIK_FORMAT"),
    case("rule 9 BATAL", "iuran", {"record_status": "BATAL"}),
    # DATE_FUTURE
    *(
        case(f"rule 5 {feed}.{column} {moment} {zone}", feed, {column: moment}, expected, zone=zone)
        for feed, column in (("pendaftaran", "registered_at"), ("iuran", "paid_at"))
        for zone, moment, expected in (
            ("Asia/Jakarta", "2023-12-11 23:59:59.999999", ""),
            ("Asia/Jakarta", "2023-12-12 00:00", "DATE_FUTURE"),
            ("Asia/Makassar", "2023-12-12 00:59:59", ""),
            ("Asia/Makassar", "2023-12-12 01:00", "DATE_FUTURE"),
            ("Asia/Jayapura", "2023-12-12 01:59:59", ""),
            ("Asia/Jayapura", "2023-12-12 02:00", "DATE_FUTURE"),
            ("Asia/Jayapura", "2023-12-11T16:59:59Z", ""),
            ("Asia/Jayapura", "2023-12-11T17:00:00Z", "DATE_FUTURE"),
        )
    ),
    case(
        "rule 5 started_at",
        "kegiatan",
        {"started_at": "2023-12-12 00:00", "ended_at": "2023-12-12 00:00"},
        "DATE_FUTURE",
    ),
    case("rule 5 ended_at is not tested", "kegiatan", {"ended_at": "2024-01-01 00:00"}),
    case("rule 5 coverage_start is not tested", "iuran", {"coverage_start": "2024-06-01"}),
    case("rule 5 no lower bound", "kegiatan", {"started_at": "1901-01-01 00:00"}),
    case("rule 5 updated_at a day after sent_at", "iuran", {"updated_at": "2023-12-12T19:02:11"}),
    case("rule 5 updated_at later still", "iuran", {"updated_at": "2023-12-12T19:02:11.000001"}, "DATE_FUTURE"),
    case("rule 5 updated_at later still, east", "iuran", {"updated_at": "2023-12-12T20:02:11"}, zone="Asia/Makassar"),
    case("rule 5 sent_at unknown", "iuran", {"updated_at": "2030-01-01"}, sent_at=None),
    case("rule 5 sent_at at the end of time", "iuran", {}, sent_at=datetime.max.replace(tzinfo=UTC)),
    *(
        case(f"rule 30 {name}", "iuran", {"updated_at": updated_at}, expected, sent_at=sent_at, seen_at=seen_at)
        for name, sent_at, seen_at, updated_at, expected in (
            ("sent in 2031, seen now", CLOCK_AHEAD, SEEN_AT, "2023-12-12T20:00", ""),
            ("sent in 2031, seen now, changed later", CLOCK_AHEAD, SEEN_AT, "2023-12-12T20:00:01", "DATE_FUTURE"),
            ("sent in 2031, changed then", CLOCK_AHEAD, SEEN_AT, "2031-01-01T00:00", "DATE_FUTURE"),
            ("sent before it was seen", SENT_AT, SEEN_AT, "2023-12-12T19:02:11", ""),
            ("sent before it was seen, changed between", SENT_AT, SEEN_AT, "2023-12-12T19:30", "DATE_FUTURE"),
            ("not said when it was sent", None, SEEN_AT, "2023-12-12T20:00", ""),
            ("not said, changed later", None, SEEN_AT, "2023-12-12T20:00:01", "DATE_FUTURE"),
        )
    ),
    # Bounds
    case("INCOME_RANGE 0", "pendaftaran", {"declared_income": "0"}, "INCOME_RANGE"),
    case("INCOME_RANGE 1", "pendaftaran", {"declared_income": "1"}),
    case("INCOME_RANGE 1,000,000,000", "pendaftaran", {"declared_income": "1.000.000.000"}),
    case("INCOME_RANGE 1,000,000,001", "pendaftaran", {"declared_income": "1.000.000.001"}, "", "INCOME_RANGE"),
    case("rule 10 negative income is INCOME_RANGE only", "pendaftaran", {"declared_income": "-1"}, "INCOME_RANGE"),
    *(
        case(f"MONTHS_RANGE {months}", "pendaftaran", {"months_covered": str(months)}, errors, warnings)
        for months, errors, warnings in (
            (0, "MONTHS_RANGE", ""),
            (1, "", ""),
            (2, "", ""),
            (4, "", "MONTHS_RANGE"),
            (6, "", ""),
            (11, "", "MONTHS_RANGE"),
            (12, "", ""),
            (13, "MONTHS_RANGE", ""),
            (-1, "MONTHS_RANGE", ""),
        )
    ),
    case("rule 10 iuran: negative jml_bulan", "iuran", {"months_covered": "-3"}, "MONTHS_RANGE"),
    # NEGATIVE
    *(
        case(f"rule 10 NEGATIVE {feed}.{column}", feed, {column: "-1"}, "NEGATIVE")
        for feed, column in (
            ("kegiatan", "contacts"),
            ("kegiatan", "cost"),
            ("kegiatan", "duration_min"),
            ("target", "target_new"),
            ("target", "target_active"),
            ("target", "target_idr"),
        )
    ),
    case("rule 10 NEGATIVE jkk", "iuran", paid(-1, 20400, 60000), "NEGATIVE", "AMOUNT_TIER"),
    case("rule 10 NEGATIVE jkm", "iuran", paid(30000, -1, 60000), "NEGATIVE", "AMOUNT_TIER"),
    case("rule 10 NEGATIVE jht", "iuran", paid(30000, 20400, -1), "NEGATIVE", "AMOUNT_TIER"),
    case("rule 10 NEGATIVE total", "iuran", {"total_amount": "-110400"}, "NEGATIVE AMOUNT_SUM"),
    case("NEGATIVE 0 is not", "kegiatan", {"contacts": "0", "cost": "0", "duration_min": "0"}),
    # Phone and e-mail
    *(
        case(f"rule 12 phone {phone}", "pendaftaran", {"phone": phone}, "", warnings)
        for phone, warnings in (
            ("0812345678", ""),
            ("081234567", "PHONE_FORMAT"),
            ("0812345678901", ""),
            ("08123456789012", "PHONE_FORMAT"),
            ("0215551234", "PHONE_FORMAT"),
            ("+62 21 555 1234", "PHONE_FORMAT"),
            ("+62 0812345678", "PHONE_FORMAT"),
            ("telepon", "PHONE_FORMAT"),
        )
    ),
    *(
        case(f"rule 12 e-mail {email}", "pendaftaran", {"email": email}, "", warnings)
        for email, warnings in (
            ("a@b.co", ""),
            ("a.b+c@d-e.contoh.id", ""),
            ("a@b", "EMAIL_FORMAT"),
            ("a@b.c", "EMAIL_FORMAT"),
            ("a@b.c1", "EMAIL_FORMAT"),
            ("a b@c.id", "EMAIL_FORMAT"),
            ("a@b@c.id", "EMAIL_FORMAT"),
            ("@b.id", "EMAIL_FORMAT"),
        )
    ),
    # DISTRICT_UNKNOWN
    case("DISTRICT_UNKNOWN dots allowed", "kegiatan", {"district_code": "31.72.06"}),
    case("DISTRICT_UNKNOWN", "kegiatan", {"district_code": "31.72.99"}, "", "DISTRICT_UNKNOWN"),
    case("DISTRICT_UNKNOWN a regency", "pendaftaran", {"district_code": "3172"}, "", "DISTRICT_UNKNOWN"),
    # Amounts
    case("AMOUNT_SUM", "iuran", {"total_amount": "110401"}, "AMOUNT_SUM"),
    case("rule 16 a sum of 10^12", "iuran", paid(10**12 - 1, 1, 0), "", "AMOUNT_TIER"),
    case("rule 16 a sum beyond 10^12", "iuran", paid(10**12, 1, 0), "VALUE_INVALID", "AMOUNT_TIER"),
    case("rule 16 a negative number beyond", "kegiatan", {"cost": str(-(10**12) - 1)}, "VALUE_INVALID"),
    case("rule 16 three decimals", "iuran", {c: f"{VALID['iuran'][c]}.000" for c in AMOUNTS}),
    case("rule 16 a thousandfold part", "iuran", {"jkk_amount": "30.000.000"}, "AMOUNT_SUM", "AMOUNT_TIER"),
    case("rule 10 iuran_jht missing is 0", "iuran", paid(30000, 20400, 0, program_code="JKK_JKM", jht_amount=None)),
    case("rule 10 tier of two programmes", "iuran", paid(30000, 20400, 0, program_code="JKK_JKM")),
    case("rule 10 jht of two programmes", "iuran", {"program_code": "JKK_JKM"}, "", "AMOUNT_TIER"),
    case("rule 10 no jht of three programmes", "iuran", paid(30000, 20400, 0), "", "AMOUNT_TIER"),
    case("rule 10 the highest tier", "iuran", paid(207000, 6800, 414000, months_covered="1")),
    case("rule 10 amounts of two tiers", "iuran", paid(30000, 20400, 72000), "", "AMOUNT_TIER"),
    case("rule 10 of other months", "iuran", paid(10000, 6800, 20000), "", "AMOUNT_TIER"),
    case("rule 10 jkm not 6800", "iuran", paid(30000, 20401, 60000), "", "AMOUNT_TIER"),
    case("rule 10 no tier", "iuran", paid(33000, 20400, 66000), "", "AMOUNT_TIER"),
    case("rule 10 no whole tier", "iuran", paid(30001, 20400, 60000), "", "AMOUNT_TIER"),
    case("rule 23 last day of the table", "iuran", paid(1, 1, 1, coverage_start="2025-12-31"), "", "AMOUNT_TIER"),
    case("rule 23 the day after", "iuran", paid(1, 1, 1, coverage_start="2026-01-01")),
    case("rule 23 no lower bound", "iuran", paid(1, 1, 1, coverage_start="2015-06-30"), "", "AMOUNT_TIER"),
    # Length
    *(
        case(f"rule 24 {feed}.{column} of 201", feed, {column: "Ω" * 201}, "VALUE_INVALID")
        for feed, columns in IDENTIFIERS.items()
        for column in columns.split()
    ),
    *(
        case(f"rule 24 {feed}.{column} of 4001", feed, {column: "Ω" * 4_001}, "VALUE_INVALID")
        for feed, columns in TEXTS.items()
        for column in columns.split()
    ),
    *(
        case(f"rule 24 {feed}.{column} of 200", feed, {column: "Ω" * 200})
        for feed, column in (
            ("pendaftaran", "registration_no"),
            ("pendaftaran", "kpj"),
            ("pendaftaran", "postal_code"),
            ("pendaftaran", "activity_code"),
            ("pendaftaran", "officer_code"),
            ("iuran", "payment_id"),
            ("kegiatan", "activity_code"),
        )
    ),
    *(
        case(f"rule 24 {feed}.{column} of 4000", feed, {column: "Ω" * 4_000})
        for feed, columns in TEXTS.items()
        for column in columns.split()
        if column not in {"phone", "email"}
    ),
    case("rule 24 blanks around it are no part of it", "iuran", {"payment_id": f" '\u200b{'9' * 200}\u00a0"}),
    case("rule 24 a code that fits no index", "pendaftaran", {"activity_code": "K" * 13_890}, "VALUE_INVALID"),
    case("rule 24 a long phone is no odd one", "pendaftaran", {"phone": "8" * 4_001}, "VALUE_INVALID"),
    case("rule 24 a date in many blanks", "pendaftaran", {"birth_date": f"15{' ' * 4_000}Mar 1995"}, "VALUE_INVALID"),
    # Years
    case("rule 25 born in 1899", "pendaftaran", {"birth_date": "31/12/1899"}, "VALUE_INVALID"),
    case("rule 25 year 0203", "iuran", {"coverage_start": "0203-12-11"}, "VALUE_INVALID"),
    case("rule 25 year 0001", "kegiatan", {"started_at": "0001-01-01 00:00"}, "VALUE_INVALID"),
    case("rule 25 the last day", "iuran", {"coverage_start": "2100-12-31"}),
    case("rule 25 the day after", "iuran", {"coverage_start": "2101-01-01"}, "VALUE_INVALID"),
    case("rule 25 and no DATE_FUTURE", "iuran", {"updated_at": "9999-12-31"}, "VALUE_INVALID"),
    case("rule 25 a month", "target", {"month": "2101-01"}, "VALUE_INVALID"),
    # Eaten keys
    *(
        case(f"rule 26 {feed}.{column} {number}", feed, {column: number}, "VALUE_INVALID")
        for feed, columns in IDENTIFIERS.items()
        for column in columns.split()
        for number in ("2,02312E+17", "1.23e+10")
    ),
    *(
        case(f"rule 26 {number}", "iuran", {"payment_id": number}, "VALUE_INVALID")
        for number in ("2.02312E17", "2E+17", "1E5", "1e-7", "-2,02312E+17", "+1.5E+03", " '2,02312E+17 ")
    ),
    *(
        case(f"rule 26 {number} is a key", "iuran", {"payment_id": number})
        for number in ("E17", "2E", "2,E+17", "A2E+17", "2E+17A", "2.1.3E5", "2E+1.5", "1x5", "202312000000000017")
    ),
    case("rule 26 no other column", "kegiatan", {"place": "2,02312E+17"}),
    # Error cells
    *(
        case(f"rule 27 {feed}.{column} {error}", feed, {column: error}, "VALUE_INVALID")
        for feed, column in EVERY_COLUMN
        for error in ("#REF!", "###")
    ),
    *(
        case(f"rule 27 {feed} {error!r}", feed, {column: error}, "VALUE_INVALID")
        for feed, column in (("pendaftaran", "address"), ("pendaftaran", "email"), ("iuran", "payment_id"))
        for error in (
            *("#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"),
            *("#GETTING_DATA", "#n/a", "#Name?", " #REF!\u00a0", "'#N/A", "#\u200bN/A", "########"),
        )
    ),
    *(
        case(f"rule 27 {text!r} is text", "pendaftaran", {"address": text})
        for text in ("#", "##", "# 3", "#REF", "REF!", "#REF! 3", "Blok #N/A", "###3", "### ###", "#ERROR!", "a\n###")
    ),
    # Control characters, and what is left of bytes that are no UTF-8
    *(
        case(f"rule 28 {feed}.{column} has a bell", feed, {column: f"{VALID[feed][column]}\a"}, "VALUE_INVALID")
        for feed, column in EVERY_COLUMN
    ),
    *(
        case(f"rule 28 {control!r}", "pendaftaran", {"address": f"{before}{control}{after}"}, "VALUE_INVALID")
        for control in ("\0", "\x01", "\b", "\x0b", "\f", "\x1a", "\x1f", "\x7f", "\x80", "\x85", "\x9f")
        for before, after in (("Jl.", "1"), ("", ""), ("Jl. 1", ""))
    ),
    case("rule 28 tab, CR and LF are valid", "pendaftaran", {"address": "Jl.\tContoh\r\nRT 1\nRW 2"}),
    case("rule 31 a byte that is no UTF-8", "pendaftaran", {"full_name": "Andr\ufffd"}, "VALUE_INVALID"),
    case("rule 31 alone in an optional cell", "kegiatan", {"place": "\ufffd"}, "VALUE_INVALID"),
    # PERIOD_ORDER
    case("PERIOD_ORDER equal", "kegiatan", {"ended_at": "2023-12-11T06:00:00"}),
    case("PERIOD_ORDER before", "kegiatan", {"ended_at": "2023-12-11T05:59:59"}, "PERIOD_ORDER"),
    case("PERIOD_ORDER by instant", "kegiatan", {"ended_at": "2023-12-11T07:00:00+09:00"}, "PERIOD_ORDER"),
    # Several at once
    case(
        "every code that applies",
        "pendaftaran",
        {"nik": "9972065503959001", "declared_income": "0", "channel_code": "X", "months_covered": "5", "email": "x"},
        "NIK_REGION INCOME_RANGE CODE_UNKNOWN",
        "MONTHS_RANGE EMAIL_FORMAT",
    ),
]
