"""Bad rows. Each fault breaks a clean row in one way and says which codes that earns; nothing is judged afterwards."""

from dataclasses import dataclass, field
from random import Random

from kkbc_play.simulator import strikes
from kkbc_play.simulator.rows import COLUMNS, IURAN, KEGIATAN, PENDAFTARAN, REQUIRED, Kind, Row
from kkbc_play.simulator.strikes import Setting, Strike


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
    faults = [
        _fault("ROW_SHAPE", strikes.shape, *columns),
        _fault("BRANCH_MISMATCH", strikes.other_branch, "kode_kantor"),
    ]
    faults += [_fault("REQUIRED_MISSING", strikes.missing(c), c, *leaning.get(c, ())) for c in REQUIRED[feed]]
    for column in moments:
        bad = strikes.invalid(
            column, "2023-02-30 08:00:00", "besok", "31/11/2023 10:00", "2023-12-11 25:10:00", "12/2023"
        )
        faults.append(_fault("VALUE_INVALID", bad, column, *leaning.get(column, ())))
    faults.append(_fault("CODE_UNKNOWN", strikes.unknown("status_data", "HAPUS", "B A R U", "9"), "status_data"))
    faults.append(_fault("DATE_FUTURE", strikes.future_update, "diubah_pada"))
    if feed in {PENDAFTARAN, IURAN}:
        faults += _errors_of_persons()
    return [*faults, *_ERRORS_OF_FEED[feed]()]


def _errors_of_persons() -> list[Fault]:
    return [
        _fault("VALUE_INVALID", strikes.excel_nik, "nik"),
        _fault("NIK_FORMAT", strikes.nik_format, "nik"),
        _fault("NIK_FORMAT", strikes.nik_zero, "nik"),
        _fault("NIK_REGION", strikes.nik_province, "nik"),
        _fault("NIK_DATE", strikes.nik_date, "nik"),
        _fault("MONTHS_RANGE", strikes.months, "jml_bulan", "iuran_jkk"),
        _fault("VALUE_INVALID", strikes.invalid("jml_bulan", "dua", "1.5", "1,25", "3 bln"), "jml_bulan", "iuran_jkk"),
        _fault(
            "CODE_UNKNOWN",
            strikes.unknown("kode_program", "JHT", "JKK-JKM", "JKK_JKM_JHT_JP"),
            "kode_program",
            "iuran_jkk",
        ),
    ]


def _errors_of_registrations() -> list[Fault]:
    age = _AGE_COLUMNS
    return [
        _fault(
            "VALUE_INVALID", strikes.invalid("tgl_lahir", "30/02/1990", "1990-13-01", "tidak tahu", "12 Foo 1990"), *age
        ),
        _fault("VALUE_INVALID", strikes.invalid("penghasilan", "dua juta", "1.500.50", "1500,5", "Rp"), "penghasilan"),
        _fault("CODE_UNKNOWN", strikes.unknown("jenis_kelamin", "X", "PRIA", "1"), "jenis_kelamin"),
        _fault("CODE_UNKNOWN", strikes.unknown("kanal", "FACEBOOK", "KANTOR CABANG", "PASAR2"), "kanal"),
        _fault("AGE_RANGE", strikes.age, *age),
        _fault("DATE_FUTURE", strikes.future_event("tgl_pendaftaran"), *age),
        _fault("INCOME_RANGE", strikes.income, "penghasilan"),
    ]


def _errors_of_contributions() -> list[Fault]:
    amounts = ("iuran_jkk", "iuran_jkm", "iuran_jht", "total", "jml_bulan")
    return [
        _fault("VALUE_INVALID", strikes.invalid("total", "enam belas ribu", "16.800,5", "1.68.00"), *amounts),
        _fault("VALUE_INVALID", strikes.invalid("iuran_jht", "x", "20000,7"), *amounts),
        _fault(
            "VALUE_INVALID", strikes.invalid("periode_mulai", "2023-00-10", "31/02/2024", "awal bulan"), "periode_mulai"
        ),
        _fault("DATE_FUTURE", strikes.future_event("tgl_bayar"), "tgl_bayar"),
        _fault("AMOUNT_SUM", strikes.wrong_sum, *amounts),
        _fault("NEGATIVE", strikes.negative_amount, *amounts),
    ]


def _errors_of_activities() -> list[Fault]:
    return [
        _fault("VALUE_INVALID", strikes.invalid("jumlah_kontak", "banyak", "12,5", "~50"), "jumlah_kontak", "biaya"),
        _fault("CODE_UNKNOWN", strikes.unknown("jenis", "TV", "PASAR MALAM", "0"), "jenis"),
        _fault("DATE_FUTURE", strikes.future_event("mulai"), "mulai", "selesai"),
        _fault("NEGATIVE", strikes.negative_count, "jumlah_kontak", "biaya"),
        _fault("PERIOD_ORDER", strikes.period, "mulai", "selesai"),
    ]


_AGE_COLUMNS = ("tgl_lahir", "segmen", "tgl_pendaftaran")
_ERRORS_OF_FEED = {
    PENDAFTARAN: _errors_of_registrations,
    IURAN: _errors_of_contributions,
    KEGIATAN: _errors_of_activities,
}
ERRORS: dict[str, list[Fault]] = {feed: _errors(feed) for feed in (PENDAFTARAN, IURAN, KEGIATAN)}
WARNINGS: dict[str, list[Fault]] = {
    PENDAFTARAN: [
        _fault(
            "CODE_UNKNOWN", strikes.warn_unknown("kode_pekerjaan", "TUKANG_ES", "LAINNYA", "9999"), "kode_pekerjaan"
        ),
        _fault("CODE_UNKNOWN", strikes.warn_unknown("segmen", "UMUM", "BPU", "SPONSOR"), *_AGE_COLUMNS),
        _fault("NIK_BIRTH_DATE", strikes.birth_date, "nik", *_AGE_COLUMNS),
        _fault("NIK_SEX", strikes.sex, "nik", "jenis_kelamin"),
        _fault("INCOME_RANGE", strikes.high_income, "penghasilan"),
        _fault("MONTHS_RANGE", strikes.odd_months, "jml_bulan"),
        _fault(
            "PHONE_FORMAT",
            strikes.contact("no_hp", "PHONE_FORMAT", "021-5551234", "0812", "8123456789012345", "tidak ada"),
            "no_hp",
        ),
        _fault(
            "EMAIL_FORMAT",
            strikes.contact("email", "EMAIL_FORMAT", "budi@", "budi.contoh.id", "a b@contoh.id", "x@contoh"),
            "email",
        ),
        _fault("DISTRICT_UNKNOWN", strikes.district, "kode_wilayah"),
    ],
    IURAN: [
        _fault("CODE_UNKNOWN", strikes.warn_unknown("kanal_bayar", "OVO", "BSI", "DANA"), "kanal_bayar"),
        _fault("MONTHS_RANGE", strikes.odd_months, "jml_bulan", "iuran_jkk", "iuran_jkm", "iuran_jht", "total"),
        _fault(
            "AMOUNT_TIER",
            strikes.tier,
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
        _fault("CODE_UNKNOWN", strikes.warn_unknown("sasaran_pekerjaan", "SEMUA", "UMKM"), "sasaran_pekerjaan"),
        _fault("DISTRICT_UNKNOWN", strikes.district, "kode_wilayah"),
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
