"""Bad rows. Each fault breaks a clean row in one way and says which codes that earns; nothing is judged afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from kkbc_play.simulator.calendar import DAY, add_months, age_on, jakarta_day, midnight
from kkbc_play.simulator.reference import Reference
from kkbc_play.simulator.rows import COLUMNS, IURAN, KEGIATAN, PENDAFTARAN, REQUIRED, TYPED, Kind, Row
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


@dataclass(frozen=True)
class Fault:
    """One way to break a row. `columns` are those it changes or whose rules it leans on: faults that share none can
    meet on one row without hiding each other. `strike` returns False when the row or the file format does not allow it.
    """

    code: str
    columns: frozenset[str]
    strike: Strike


@dataclass
class Deck:
    """Faults dealt in turn, so that each comes before any comes twice: one of every code first, then the rest."""

    faults: list[Fault]
    rng: Random
    cards: list[Fault] = field(default_factory=list)

    def deal(self, row: Row, setting: Setting) -> Fault | None:
        """Strike `row` with the next fault that it allows; None if it allows none."""
        if not self.cards:
            self._shuffle()
        for position, fault in enumerate(self.cards):
            if fault.strike(self.rng, row, setting):
                return self.cards.pop(position)
        return None

    def _shuffle(self) -> None:
        rest = self.rng.sample(self.faults, len(self.faults))
        first = {fault.code: fault for fault in rest}
        self.cards = [*first.values(), *(fault for fault in rest if first[fault.code] is not fault)]


# Errors


def _shape(rng: Random, row: Row, setting: Setting) -> bool:
    if setting.format in {"xlsx", TABLE}:  # neither a sheet nor a table has short rows
        return False
    row.cells = rng.choice((-3, -1, 1, 2))
    row.errors.add("ROW_SHAPE")
    row.nik_valid = False
    return True


def _missing(column: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        tokens = [
            token for token in MISSING if not (COLUMNS[setting.feed][column] is Kind.NAME and token.lower() == "nan")
        ]
        if setting.format == TABLE and (COLUMNS[setting.feed][column] in TYPED or rng.random() < 0.5):
            return _break(row, "REQUIRED_MISSING", column, None)
        return _break(row, "REQUIRED_MISSING", column, rng.choice(tokens))

    return strike


def _invalid(column: str, *texts: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        if setting.format == TABLE:  # a typed column holds nothing of the kind
            return False
        return _break(row, "VALUE_INVALID", column, rng.choice(texts))

    return strike


def _excel_nik(rng: Random, row: Row, setting: Setting) -> bool:
    nik = row.text("nik")
    if setting.format == "xlsx" and rng.random() < 0.5:
        return _break(row, "VALUE_INVALID", "nik", float(nik))
    mantissa = f"{int(nik) / 10**15:.5f}"
    return _break(row, "VALUE_INVALID", "nik", rng.choice((mantissa, mantissa.replace(".", ","))) + "E+15")


def _unknown(column: str, *texts: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        return _break(row, "CODE_UNKNOWN", column, rng.choice(texts))

    return strike


def _other_branch(rng: Random, row: Row, setting: Setting) -> bool:
    others = [branch_id for branch_id in setting.reference.ids if branch_id != setting.branch_id]
    return _break(row, "BRANCH_MISMATCH", "kode_kantor", rng.choice((rng.choice(others), "KC999", "PUSAT")))


def _nik_format(rng: Random, row: Row, setting: Setting) -> bool:
    nik = row.text("nik")
    texts = (nik[:15], f"{nik}7", f"{nik[:11]}O{nik[12:]}", f"{nik[:12]}0000", f"{nik[:6]} {nik[6:]}")
    return _break(row, "NIK_FORMAT", "nik", rng.choice(texts))


def _nik_zero(rng: Random, row: Row, setting: Setting) -> bool:
    row.errors |= {"NIK_REGION", "NIK_DATE"}
    return _break(row, "NIK_FORMAT", "nik", "0" * 16)


def _nik_province(rng: Random, row: Row, setting: Setting) -> bool:
    return _break(row, "NIK_REGION", "nik", rng.choice(("00", "10", "20", "45", "99")) + row.text("nik")[2:])


def _nik_date(rng: Random, row: Row, setting: Setting) -> bool:
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


def _age(rng: Random, row: Row, setting: Setting) -> bool:
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


def _future_event(column: str) -> Strike:
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


def _future_update(rng: Random, row: Row, setting: Setting) -> bool:
    row.values["diubah_pada"] = (
        setting.sent_at + DAY + rng.choice((1, rng.randint(1, DAY), rng.randint(DAY, 9_000 * DAY)))
    )
    row.errors.add("DATE_FUTURE")
    return True


def _income(rng: Random, row: Row, setting: Setting) -> bool:
    return _change(row, "INCOME_RANGE", penghasilan=rng.choice((0, -1_500_000)))


def _months(rng: Random, row: Row, setting: Setting) -> bool:
    return _change(row, "MONTHS_RANGE", jml_bulan=rng.choice((0, 13, -1, 24)))


def _sum(rng: Random, row: Row, setting: Setting) -> bool:
    return _change(row, "AMOUNT_SUM", total=row.number("total") + rng.choice((-100, 1, 6_800)))


def _negative_amount(rng: Random, row: Row, setting: Setting) -> bool:
    jkk = -row.number("iuran_jkk")
    if rng.random() < 0.5:
        row.errors.add("AMOUNT_SUM")
    else:
        row.values["total"] = jkk + row.number("iuran_jkm") + row.number("iuran_jht")
    return _change(row, "NEGATIVE", iuran_jkk=jkk)


def _negative_count(rng: Random, row: Row, setting: Setting) -> bool:
    column = rng.choice(("jumlah_kontak", "biaya"))
    return _change(row, "NEGATIVE", **{column: -rng.randint(1, 500)})


def _period(rng: Random, row: Row, setting: Setting) -> bool:
    return _change(row, "PERIOD_ORDER", selesai=row.number("mulai") - rng.choice((1, 3600, 3 * DAY)))


# Warnings


def _warn_unknown(column: str, *codes: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        if column in setting.lacking:
            return False
        if column == "segmen" and age_on(row.day("tgl_lahir"), jakarta_day(row.number("tgl_pendaftaran"))) < 18:
            return False
        row.values[column] = rng.choice(codes)
        row.warnings.add("CODE_UNKNOWN")
        return True

    return strike


def _birth_date(rng: Random, row: Row, setting: Setting) -> bool:
    birth = row.day("tgl_lahir")
    if not 19 <= age_on(birth, setting.business_date - timedelta(days=430)) <= 62:
        return False
    row.values["tgl_lahir"] = birth + timedelta(days=rng.choice((-30, -9, -1, 1, 2, 365)))
    row.warnings.add("NIK_BIRTH_DATE")
    return True


def _sex(rng: Random, row: Row, setting: Setting) -> bool:
    row.values["jenis_kelamin"] = "L" if row.values["jenis_kelamin"] == "P" else "P"
    row.warnings.add("NIK_SEX")
    return True


def _high_income(rng: Random, row: Row, setting: Setting) -> bool:
    row.values["penghasilan"] = rng.choice((1_000_000_001, 2_500_000_000))
    row.warnings.add("INCOME_RANGE")
    return True


def _odd_months(rng: Random, row: Row, setting: Setting) -> bool:
    months = rng.choice((4, 5, 7, 8, 9, 10, 11))
    if setting.feed == IURAN:
        before = row.number("jml_bulan")
        for column in ("iuran_jkk", "iuran_jkm", "iuran_jht", "total"):
            row.values[column] = row.number(column) // before * months
    row.values["jml_bulan"] = months
    row.warnings.add("MONTHS_RANGE")
    return True


def _contact(column: str, code: str, *texts: str) -> Strike:
    def strike(rng: Random, row: Row, setting: Setting) -> bool:
        if column in setting.lacking:
            return False
        row.values[column] = None
        row.spelled[column] = rng.choice(texts)
        row.warnings.add(code)
        return True

    return strike


def _district(rng: Random, row: Row, setting: Setting) -> bool:
    row.values["kode_wilayah"] = rng.choice(("999999", "317299", "3172", "00.00.00", "KEC. BARU"))
    row.warnings.add("DISTRICT_UNKNOWN")
    return True


def _tier(rng: Random, row: Row, setting: Setting) -> bool:
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


def _fault(code: str, strike: Strike, *columns: str) -> Fault:
    return Fault(code, frozenset(columns), strike)


def _errors(feed: str) -> list[Fault]:
    columns = COLUMNS[feed]
    moments = [column for column, kind in columns.items() if kind is Kind.MOMENT]
    leaning = {  # what is no longer judged when the column cannot be read
        "tgl_lahir": ("segmen", "tgl_pendaftaran"),
        "tgl_pendaftaran": ("tgl_lahir", "segmen"),
        "jml_bulan": ("iuran_jkk",),
        "total": ("iuran_jkk",),
        "iuran_jkk": ("total", "jml_bulan"),
        "iuran_jkm": ("total", "iuran_jkk", "jml_bulan"),
        "mulai": ("selesai",),
        "selesai": ("mulai",),
    }
    faults = [_fault("ROW_SHAPE", _shape, *columns), _fault("BRANCH_MISMATCH", _other_branch, "kode_kantor")]
    faults += [_fault("REQUIRED_MISSING", _missing(c), c, *leaning.get(c, ())) for c in REQUIRED[feed]]
    for column in moments:
        bad = _invalid(column, "2023-02-30 08:00:00", "besok", "31/11/2023 10:00", "2023-12-11 25:10:00", "12/2023")
        faults.append(_fault("VALUE_INVALID", bad, column, *leaning.get(column, ())))
    faults.append(_fault("CODE_UNKNOWN", _unknown("status_data", "HAPUS", "B A R U", "9"), "status_data"))
    faults.append(_fault("DATE_FUTURE", _future_update, "diubah_pada"))
    if feed in {PENDAFTARAN, IURAN}:
        faults += [
            _fault("VALUE_INVALID", _excel_nik, "nik"),
            _fault("NIK_FORMAT", _nik_format, "nik"),
            _fault("NIK_FORMAT", _nik_zero, "nik"),
            _fault("NIK_REGION", _nik_province, "nik"),
            _fault("NIK_DATE", _nik_date, "nik"),
            _fault("MONTHS_RANGE", _months, "jml_bulan", "iuran_jkk"),
            _fault("VALUE_INVALID", _invalid("jml_bulan", "dua", "1.5", "1,25", "3 bln"), "jml_bulan", "iuran_jkk"),
            _fault(
                "CODE_UNKNOWN",
                _unknown("kode_program", "JHT", "JKK-JKM", "JKK_JKM_JHT_JP"),
                "kode_program",
                "iuran_jkk",
            ),
        ]
    if feed == PENDAFTARAN:
        age = ("tgl_lahir", "segmen", "tgl_pendaftaran")
        faults += [
            _fault(
                "VALUE_INVALID", _invalid("tgl_lahir", "30/02/1990", "1990-13-01", "tidak tahu", "12 Foo 1990"), *age
            ),
            _fault("VALUE_INVALID", _invalid("penghasilan", "dua juta", "1.500.50", "1500,5", "Rp"), "penghasilan"),
            _fault("CODE_UNKNOWN", _unknown("jenis_kelamin", "X", "PRIA", "1"), "jenis_kelamin"),
            _fault("CODE_UNKNOWN", _unknown("kanal", "FACEBOOK", "KANTOR CABANG", "PASAR2"), "kanal"),
            _fault("AGE_RANGE", _age, *age),
            _fault("DATE_FUTURE", _future_event("tgl_pendaftaran"), *age),
            _fault("INCOME_RANGE", _income, "penghasilan"),
        ]
    if feed == IURAN:
        amounts = ("iuran_jkk", "iuran_jkm", "iuran_jht", "total", "jml_bulan")
        faults += [
            _fault("VALUE_INVALID", _invalid("total", "enam belas ribu", "16.800,5", "1.68.00"), *amounts),
            _fault("VALUE_INVALID", _invalid("iuran_jht", "x", "20000,7"), *amounts),
            _fault(
                "VALUE_INVALID", _invalid("periode_mulai", "2023-00-10", "31/02/2024", "awal bulan"), "periode_mulai"
            ),
            _fault("DATE_FUTURE", _future_event("tgl_bayar"), "tgl_bayar"),
            _fault("AMOUNT_SUM", _sum, *amounts),
            _fault("NEGATIVE", _negative_amount, *amounts),
        ]
    if feed == KEGIATAN:
        faults += [
            _fault("VALUE_INVALID", _invalid("jumlah_kontak", "banyak", "12,5", "~50"), "jumlah_kontak", "biaya"),
            _fault("CODE_UNKNOWN", _unknown("jenis", "TV", "PASAR MALAM", "0"), "jenis"),
            _fault("DATE_FUTURE", _future_event("mulai"), "mulai", "selesai"),
            _fault("NEGATIVE", _negative_count, "jumlah_kontak", "biaya"),
            _fault("PERIOD_ORDER", _period, "mulai", "selesai"),
        ]
    return faults


_AGE_COLUMNS = ("tgl_lahir", "segmen", "tgl_pendaftaran")
ERRORS: dict[str, list[Fault]] = {feed: _errors(feed) for feed in (PENDAFTARAN, IURAN, KEGIATAN)}
WARNINGS: dict[str, list[Fault]] = {
    PENDAFTARAN: [
        _fault("CODE_UNKNOWN", _warn_unknown("kode_pekerjaan", "TUKANG_ES", "LAINNYA", "9999"), "kode_pekerjaan"),
        _fault("CODE_UNKNOWN", _warn_unknown("segmen", "UMUM", "BPU", "SPONSOR"), *_AGE_COLUMNS),
        _fault("NIK_BIRTH_DATE", _birth_date, "nik", *_AGE_COLUMNS),
        _fault("NIK_SEX", _sex, "nik", "jenis_kelamin"),
        _fault("INCOME_RANGE", _high_income, "penghasilan"),
        _fault("MONTHS_RANGE", _odd_months, "jml_bulan"),
        _fault(
            "PHONE_FORMAT",
            _contact("no_hp", "PHONE_FORMAT", "021-5551234", "0812", "8123456789012345", "tidak ada"),
            "no_hp",
        ),
        _fault(
            "EMAIL_FORMAT",
            _contact("email", "EMAIL_FORMAT", "budi@", "budi.contoh.id", "a b@contoh.id", "x@contoh"),
            "email",
        ),
        _fault("DISTRICT_UNKNOWN", _district, "kode_wilayah"),
    ],
    IURAN: [
        _fault("CODE_UNKNOWN", _warn_unknown("kanal_bayar", "OVO", "BSI", "DANA"), "kanal_bayar"),
        _fault("MONTHS_RANGE", _odd_months, "jml_bulan", "iuran_jkk", "iuran_jkm", "iuran_jht", "total"),
        _fault(
            "AMOUNT_TIER",
            _tier,
            "jml_bulan",
            "iuran_jkk",
            "iuran_jkm",
            "iuran_jht",
            "total",
            "periode_mulai",
            "kode_program",
        ),
    ],
    KEGIATAN: [
        _fault("CODE_UNKNOWN", _warn_unknown("sasaran_pekerjaan", "SEMUA", "UMKM"), "sasaran_pekerjaan"),
        _fault("DISTRICT_UNKNOWN", _district, "kode_wilayah"),
    ],
}


class Messes:
    """The night's faults, dealt to rows of all branches in turn."""

    def __init__(self, seed: str) -> None:
        self._errors = {feed: Deck(faults, Random(f"{seed}/errors/{feed}")) for feed, faults in ERRORS.items()}
        self._warnings = {feed: Deck(faults, Random(f"{seed}/warnings/{feed}")) for feed, faults in WARNINGS.items()}

    def spoil(self, rng: Random, row: Row, setting: Setting, errors: float, warnings: float) -> None:
        """Break `row` at the given rates; a third of the broken rows get further faults, warnings among them."""
        touched: frozenset[str] = frozenset()
        if rng.random() < errors:
            fault = self._errors[setting.feed].deal(row, setting)
            touched = fault.columns if fault else touched
            if rng.random() < 0.35:
                others = [*rng.sample(ERRORS[setting.feed], 8), *rng.sample(WARNINGS[setting.feed], 2)]
                for other in others[rng.randrange(9) :]:
                    if not touched & other.columns and other.strike(rng, row, setting):
                        touched |= other.columns
        elif rng.random() < warnings:
            fault = self._warnings[setting.feed].deal(row, setting)
            touched = fault.columns if fault else touched
            if rng.random() < 0.2:
                for other in WARNINGS[setting.feed]:
                    if rng.random() < 0.5 and not touched & other.columns and other.strike(rng, row, setting):
                        touched |= other.columns
