"""The exchange's rules on a pandas frame of text: typed rows that are accepted, and codes of those that are not."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from reading import columns

SEEDS = Path(__file__).resolve().parents[2] / "dbt_project" / "seeds"
JAKARTA = ZoneInfo("Asia/Jakarta")
MISSING = {"", "-", "null", "n/a", "nan"}
KEYS = {
    "pendaftaran": ["branch_id", "registration_no"],
    "iuran": ["branch_id", "payment_id"],
    "kegiatan": ["branch_id", "activity_code"],
    "target": ["branch_id", "month"],
}
LISTS = {
    "record_status": (("BARU", "KOREKSI", "BATAL"), "error"),
    "channel_code": (("KANTOR", "KUNJUNGAN", "PASAR", "KOMUNITAS", "RADIO", "PERISAI", "JMO", "MITRA"), "error"),
    "program_code": (("JKK_JKM", "JKK_JKM_JHT"), "error"),
    "sex": (("L", "P"), "error"),
    "activity_type": (("PASAR", "KOMUNITAS", "KUNJUNGAN", "RADIO", "LAINNYA"), "error"),
    "segment_code": (("MANDIRI", "PEKERJA_RENTAN", "PKL"), "warning"),
    "payment_channel": (
        ("KACAB", "BRI", "BNI", "BCA", "MANDIRI", "POS", "JMO", "TOKOPEDIA", "GOJEK", "RETAIL"),
        "warning",
    ),
    "occupation_code": ("occupations", "warning"),
    "target_occupation": ("occupations", "warning"),
}
MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *("jan januari", "feb februari", "mar maret", "apr april", "mei", "jun juni", "jul juli"),
            *("agu agt ags agustus", "sep sept september", "okt oktober", "nov nop november", "des desember"),
        ),
        start=1,
    )
    for name in names.split()
}
_DAY = r"(?:(\d{4})-(\d{1,2})-(\d{1,2})|(\d{1,2})([/.\s-]+)(\d{1,2}|[A-Za-z]+)[/.\s-]+(\d{4}))"
_TIME = r"(?:[T\s]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"
_DIGITS = r"(?:[0-9]+(?:[.,]0+)?|[0-9]{1,3}(?:(?:\.[0-9]{3})+(?:,0+)?|(?:,[0-9]{3})+(?:\.0+)?))"
_GROUPED = r"^[^0-9]*[0-9]{1,3}(?:(?:\.[0-9]{3})+|(?:,[0-9]{3})+)$"


@dataclass
class Judged:
    """The rows of a slice: accepted ones with their values, `errors` (lists of codes by line) of the others."""

    accepted: pd.DataFrame
    errors: pd.Series
    warnings: int
    nik_valid: int
    contactable: int


@dataclass
class _Findings:
    """Codes by row, `severity` error or warning; rows by code, so that a code counts once a row."""

    index: pd.Index
    found: dict[tuple[str, str], pd.Series] = field(default_factory=dict)
    nik: list[pd.Series] = field(default_factory=list)

    def add(self, code: str, broken: pd.Series, severity: str = "error", *, nik: bool = False) -> None:
        """Notes the rows where `broken` is true; `nik` says that it is an error of the NIK."""
        broken = broken.fillna(False).astype(bool)
        before = self.found.get((severity, code))
        self.found[severity, code] = broken if before is None else before | broken
        if nik:
            self.nik.append(broken)

    def codes(self, severity: str) -> pd.DataFrame:
        """A column of booleans for each code."""
        found = {code: rows for (kind, code), rows in self.found.items() if kind == severity}
        return pd.DataFrame(found, index=self.index)


def judge(rows: pd.DataFrame, feed: str, branch_id: str, day: date, sent_at: datetime, zone: str, key: bytes) -> Judged:
    """Types and judges the rows of a slice, in the order of their lines."""
    rows = rows.assign(_line=range(1, len(rows) + 1))
    shaped = rows[rows["_shape_ok"]]
    findings = _Findings(shaped.index)
    typed = _typed(shaped, feed, zone, findings).assign(_line=shaped["_line"])
    _check_codes(typed, feed, branch_id, findings)
    _check_times(typed, day, sent_at, findings)
    _CHECKS[feed](typed, findings)
    errors = findings.codes("error")
    typed = typed.assign(_warnings=findings.codes("warning").sum(axis=1))
    is_good = ~errors.any(axis=1)
    order = ["updated_at", "_line"] if "updated_at" in typed else ["_line"]
    losers = typed[is_good].sort_values(order).duplicated(KEYS[feed], keep="last")
    errors["KEY_DUPLICATE"] = losers.reindex(errors.index, fill_value=False)
    accepted = typed[is_good & ~errors["KEY_DUPLICATE"]]
    bad = errors[errors.any(axis=1)]
    listed = pd.Series(
        [[code for code, broken in zip(bad.columns, row, strict=True) if broken] for row in bad.to_numpy()],
        index=shaped.loc[bad.index, "_line"],
        dtype=object,
    )
    misshapen = rows.loc[~rows["_shape_ok"], "_line"]
    listed = pd.concat([listed, pd.Series([["ROW_SHAPE"]] * len(misshapen), index=misshapen, dtype=object)])
    contacts = [name for name in ("phone", "email") if name in typed]
    return Judged(
        _marked(accepted, key),
        listed,
        int(accepted["_warnings"].sum()),
        len(shaped) - int(pd.concat(findings.nik, axis=1).any(axis=1).sum()) if findings.nik else 0,
        int(accepted[contacts].notna().any(axis=1).sum()) if contacts else 0,
    )


def _typed(rows: pd.DataFrame, feed: str, zone: str, findings: _Findings) -> pd.DataFrame:
    typed = pd.DataFrame(index=rows.index)
    for wire, column in columns(feed).items():
        name, kind = column["name"], column["type"]
        text = rows[wire].astype("str").str.strip().str.removeprefix("'").str.strip()
        missing = MISSING - {"nan"} if name in ("full_name", "activity_name") else MISSING
        text = text.where(text.notna() & ~text.str.lower().isin(missing), None)
        if kind == "code":
            text = text.str.upper()
        reader = _READERS.get(kind)
        read = _identifier if reader is None and column["identifier"] else reader
        values = text if read is None else text.map(_by_value(text, read, zone), na_action="ignore")
        is_nik = name == "nik"
        if column["required"]:
            findings.add("REQUIRED_MISSING", text.isna(), nik=is_nik)
        findings.add("VALUE_INVALID", text.notna() & values.isna(), nik=is_nik)
        if name == "jht_amount":
            values = values.where(text.notna(), 0)
        if name == "segment_code":
            values = values.where(text.notna(), "MANDIRI")
        if kind in ("text", "code"):
            values = values.astype("str")
        if kind in ("int", "idr"):
            values = pd.to_numeric(values).astype("Int64")
        if kind == "timestamp":
            values = pd.to_datetime(values, utc=True)
        typed[name] = values
    return typed


def _by_value(text: pd.Series, read: Callable[[str, str], Any], zone: str) -> dict[str, Any]:
    """What each distinct text is read as: most of a column's cells are like others."""
    return {cell: read(cell, zone) for cell in text.dropna().unique()}


def _identifier(text: str, zone: str) -> str | None:
    return None if re.fullmatch(r"[+-]?\d+(?:[.,]\d+)?[eE][+-]?\d+", text) else text


def _number(text: str, zone: str, sign: str = "-?") -> int | None:
    if not re.fullmatch(sign + _DIGITS, text):
        return None
    whole = text if re.match(_GROUPED, text) else re.sub(r"[.,]0+$", "", text)
    number = int(re.sub("[^0-9-]+", "", whole))
    return number if abs(number) <= 10**12 else None


def _rupiah(text: str, zone: str) -> int | None:
    return _number(text, zone, r"(?i:-?(?:rp\s*)?|rp\s*-)")


def _day_of(found: re.Match[str]) -> date | None:
    year, month, day, first, _, middle, last = found.groups()[:7]
    if year is None:
        year, month, day = last, MONTHS.get(middle.lower(), middle), first
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _date(text: str, zone: str) -> date | None:
    found = re.fullmatch(_DAY + r"(?:[T\s]00:00:00)?", text)
    return _day_of(found) if found else None


def _month(text: str, zone: str) -> date | None:
    return date.fromisoformat(f"{text}-01") if re.fullmatch(r"\d{4}-(?:0[1-9]|1[0-2])", text) else None


def _instant(text: str, zone: str) -> datetime | None:
    found = re.fullmatch(_DAY + _TIME, text)
    day = _day_of(found) if found else None
    if found is None or day is None:
        return None
    hour, minute, second, offset = found.groups()[7:]
    try:
        moment = datetime(day.year, day.month, day.day, int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        return None
    if offset:
        return datetime.fromisoformat(moment.isoformat() + offset.replace("Z", "+00:00"))
    return moment.replace(tzinfo=ZoneInfo(zone))


_READERS: dict[str, Callable[[str, str], Any]] = {
    "int": _number,
    "idr": _rupiah,
    "date": _date,
    "month": _month,
    "timestamp": _instant,
}


def _check_codes(rows: pd.DataFrame, feed: str, branch_id: str, findings: _Findings) -> None:
    if feed == "target":
        findings.add(
            "CODE_UNKNOWN", rows["branch_id"].notna() & ~rows["branch_id"].isin(_listed("branches", "branch_id"))
        )
    else:
        findings.add("BRANCH_MISMATCH", rows["branch_id"].notna() & (rows["branch_id"] != branch_id))
    for name, (known, severity) in LISTS.items():
        if name in rows:
            values = _listed(known, "code") if isinstance(known, str) else known
            findings.add("CODE_UNKNOWN", rows[name].notna() & ~rows[name].isin(values), severity)
    if "district_code" in rows:
        bare = rows["district_code"].map(lambda code: code.replace(".", ""), na_action="ignore")
        is_known = bare.isin(_listed("districts", "code"))
        findings.add("DISTRICT_UNKNOWN", bare.notna() & ~is_known, "warning")
        rows["district_code"] = bare.where(is_known, rows["district_code"])
    if "months_covered" in rows:
        months = rows["months_covered"]
        findings.add("MONTHS_RANGE", (months < 1) | (months > 12))
        findings.add("MONTHS_RANGE", months.notna() & ~months.isin([1, 2, 3, 6, 12]), "warning")
    if "nik" in rows:
        _check_nik(rows, findings)


def _check_times(rows: pd.DataFrame, day: date, sent_at: datetime, findings: _Findings) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=JAKARTA) + timedelta(days=1)
    for name in ("registered_at", "paid_at", "started_at"):
        if name in rows:
            findings.add("DATE_FUTURE", rows[name] >= pd.Timestamp(midnight))
    if "updated_at" in rows:
        findings.add("DATE_FUTURE", rows["updated_at"] > pd.Timestamp(sent_at) + pd.Timedelta(days=1))


def _check_nik(rows: pd.DataFrame, findings: _Findings) -> None:
    nik = rows["nik"]
    is_nik = nik.map(lambda text: re.fullmatch("[0-9]{16}", text) is not None, na_action="ignore").eq(True)
    findings.add("NIK_FORMAT", nik.notna() & (~is_nik | nik.str.endswith("0000").eq(True)), nik=True)
    findings.add("NIK_REGION", is_nik & ~nik.str[:2].isin(_listed("provinces", "code")), nik=True)
    findings.add("NIK_REGION", is_nik & ~nik.str[:6].isin(_listed("districts", "code")), "warning")
    has_born = is_nik & nik.where(is_nik).map(_has_born, na_action="ignore").eq(True)
    findings.add("NIK_DATE", is_nik & ~has_born, nik=True)
    if "birth_date" not in rows:
        return
    born = pd.to_numeric(nik.where(has_born).str[6:12])
    birth = rows["birth_date"].map(lambda day: day.day * 10_000 + day.month * 100 + day.year % 100, na_action="ignore")
    differs = ~(born - pd.to_numeric(birth)).isin([0, 400_000])
    findings.add("NIK_BIRTH_DATE", has_born & birth.notna() & differs, "warning")
    sex = (born > 400_000).map({True: "P", False: "L"})
    findings.add("NIK_SEX", has_born & rows["sex"].notna() & (rows["sex"] != sex), "warning")


def _has_born(nik: str) -> bool:
    day, month, year = int(nik[6:8]), int(nik[8:10]), int(nik[10:12])
    for century in (1900, 2000):
        try:
            date(century + year, month, day - 40 if day > 40 else day)
            return True
        except ValueError:
            continue
    return False


def _check_registrations(rows: pd.DataFrame, findings: _Findings) -> None:
    income = rows["declared_income"]
    findings.add("INCOME_RANGE", income < 1)
    findings.add("INCOME_RANGE", income > 1_000_000_000, "warning")
    phone = rows["phone"].str.replace(r"[\s.()\[\]-]+", "", regex=True).str.replace(r"^(?:\+62|62|0)", "", regex=True)
    is_phone = phone.str.fullmatch("8[0-9]{8,11}").eq(True)
    findings.add("PHONE_FORMAT", phone.notna() & ~is_phone, "warning")
    is_email = rows["email"].str.fullmatch(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}").eq(True)
    findings.add("EMAIL_FORMAT", rows["email"].notna() & ~is_email, "warning")
    rows["phone"], rows["email"] = phone.where(is_phone, None), rows["email"].where(is_email, None)
    days = rows["registered_at"].dt.tz_convert(JAKARTA).dt.date
    too_old_or_young = [
        _age_broken(born, day, segment)
        for born, day, segment in zip(rows["birth_date"], days, rows["segment_code"], strict=True)
    ]
    findings.add("AGE_RANGE", pd.Series(too_old_or_young, index=rows.index, dtype=bool))


def _age_broken(born: date | None, day: date | None, segment: str) -> bool:
    if not isinstance(born, date) or not isinstance(day, date) or pd.isna(day):
        return False
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return not 15 <= years <= 65 or (years < 18 and segment != "PKL")


def _check_contributions(rows: pd.DataFrame, findings: _Findings) -> None:
    amounts = ["jkk_amount", "jkm_amount", "jht_amount"]
    findings.add("NEGATIVE", (rows[[*amounts, "total_amount"]] < 0).fillna(False).any(axis=1))
    findings.add("AMOUNT_SUM", rows["total_amount"] != rows[amounts].sum(axis=1, skipna=False))
    tiers = pd.read_csv(SEEDS / "bpu_income_tiers.csv")
    due = {row.jkk: (row.jkm, row.jht) for row in tiers.itertuples()}
    until = date.fromisoformat(tiers["valid_to"].iloc[0])
    names = [*amounts, "months_covered", "program_code", "coverage_start"]
    broken = [
        False if any(pd.isna(value) for value in row) or row[3] < 1 or row[5] > until else not _is_tier(due, *row[:5])
        for row in rows[names].itertuples(index=False)
    ]
    findings.add("AMOUNT_TIER", pd.Series(broken, index=rows.index, dtype=bool), "warning")


def _is_tier(due: dict[int, tuple[int, int]], jkk: int, jkm: int, jht: int, months: int, program: str) -> bool:
    rate = jkk // months
    if rate not in due or jkk != rate * months:
        return False
    jkm_due, jht_due = due[rate]
    return bool(jkm == jkm_due * months and jht == (jht_due * months if program == "JKK_JKM_JHT" else 0))


def _check_activities(rows: pd.DataFrame, findings: _Findings) -> None:
    findings.add("PERIOD_ORDER", rows["ended_at"] < rows["started_at"])
    findings.add("NEGATIVE", (rows[["contacts", "cost", "duration_min"]] < 0).fillna(False).any(axis=1))


def _check_targets(rows: pd.DataFrame, findings: _Findings) -> None:
    findings.add("NEGATIVE", (rows[["target_new", "target_active", "target_idr"]] < 0).fillna(False).any(axis=1))


_CHECKS: dict[str, Callable[[pd.DataFrame, _Findings], None]] = {
    "pendaftaran": _check_registrations,
    "iuran": _check_contributions,
    "kegiatan": _check_activities,
    "target": _check_targets,
}


@cache
def _listed(table: str, column: str) -> frozenset[str]:
    return frozenset(pd.read_csv(SEEDS / f"{table}.csv", dtype=str)[column])


def _marked(rows: pd.DataFrame, key: bytes) -> pd.DataFrame:
    """What branches typed where no person belongs becomes a keyed hash if it may be one (Exchange rule 39)."""
    rows = rows.copy()
    listed: Iterable[tuple[str, Any]] = [(name, known) for name, (known, _) in LISTS.items()]
    for name, known in [*listed, ("district_code", "districts"), ("activity_code", None), ("officer_code", None)]:
        if name not in rows:
            continue
        if known is None:
            odd = rows[name].map(_looks_like_words, na_action="ignore").eq(True)
        else:
            values = _listed(known, "code") if isinstance(known, str) else known
            odd = rows[name].notna() & ~rows[name].isin(values)
            odd &= ~rows[name].map(_looks_like_code, na_action="ignore").eq(True)
        rows.loc[odd, name] = [_mark(text, key) for text in rows.loc[odd, name]]
    return rows


def _mark(text: str, key: bytes) -> str:
    return "?" + hmac.new(key, b"kkbc mark\0" + text.encode(), hashlib.sha256).hexdigest()[:8]


def _looks_like_words(text: str) -> bool:
    return not re.search("[0-9]", text) and len(re.findall(r"[^\W\d_]{3,}", text)) >= 2


def _looks_like_code(text: str) -> bool:
    return re.fullmatch("[A-Z][A-Z0-9_-]{0,19}", text) is not None and sum(c.isdigit() for c in text) <= 6
