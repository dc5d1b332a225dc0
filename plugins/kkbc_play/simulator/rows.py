"""The wire: columns of each feed, and a row with what is known of it from how it was made."""

from dataclasses import dataclass, field
from datetime import date
from enum import Enum, auto

Value = str | int | date | None
PENDAFTARAN, IURAN, KEGIATAN, TARGET = "pendaftaran", "iuran", "kegiatan", "target"
BRANCH_FEEDS = (PENDAFTARAN, IURAN, KEGIATAN)


class Kind(Enum):
    """What a cell means, hence the ways in which it may validly be written."""

    TEXT = auto()
    NAME = auto()
    KEY = auto()
    CODE = auto()
    NIK = auto()
    DATE = auto()
    MOMENT = auto()
    INT = auto()
    IDR = auto()
    PHONE = auto()
    DISTRICT = auto()


TYPED = frozenset({Kind.DATE, Kind.MOMENT, Kind.INT, Kind.IDR})
"""What a database keeps by its type; everything else is text there."""

COLUMNS: dict[str, dict[str, Kind]] = {
    PENDAFTARAN: {
        "no_pendaftaran": Kind.KEY,
        "kode_kantor": Kind.CODE,
        "tgl_pendaftaran": Kind.MOMENT,
        "nik": Kind.NIK,
        "kpj": Kind.KEY,
        "nama_lengkap": Kind.NAME,
        "tempat_lahir": Kind.TEXT,
        "tgl_lahir": Kind.DATE,
        "jenis_kelamin": Kind.CODE,
        "no_hp": Kind.PHONE,
        "email": Kind.TEXT,
        "alamat": Kind.TEXT,
        "kode_pos": Kind.KEY,
        "kode_wilayah": Kind.DISTRICT,
        "kode_pekerjaan": Kind.CODE,
        "lokasi_pekerjaan": Kind.TEXT,
        "jam_awal": Kind.TEXT,
        "jam_akhir": Kind.TEXT,
        "penghasilan": Kind.IDR,
        "kode_program": Kind.CODE,
        "jml_bulan": Kind.INT,
        "kanal": Kind.CODE,
        "kode_kegiatan": Kind.TEXT,
        "kode_petugas": Kind.TEXT,
        "segmen": Kind.CODE,
        "status_data": Kind.CODE,
        "diubah_pada": Kind.MOMENT,
    },
    IURAN: {
        "id_bayar": Kind.KEY,
        "kode_kantor": Kind.CODE,
        "nik": Kind.NIK,
        "tgl_bayar": Kind.MOMENT,
        "kanal_bayar": Kind.CODE,
        "periode_mulai": Kind.DATE,
        "jml_bulan": Kind.INT,
        "kode_program": Kind.CODE,
        "iuran_jkk": Kind.IDR,
        "iuran_jkm": Kind.IDR,
        "iuran_jht": Kind.IDR,
        "total": Kind.IDR,
        "status_data": Kind.CODE,
        "diubah_pada": Kind.MOMENT,
    },
    KEGIATAN: {
        "kode_kegiatan": Kind.TEXT,
        "kode_kantor": Kind.CODE,
        "jenis": Kind.CODE,
        "nama": Kind.NAME,
        "mulai": Kind.MOMENT,
        "selesai": Kind.MOMENT,
        "lokasi": Kind.TEXT,
        "kode_wilayah": Kind.DISTRICT,
        "sasaran_pekerjaan": Kind.CODE,
        "jumlah_kontak": Kind.INT,
        "biaya": Kind.IDR,
        "stasiun_radio": Kind.TEXT,
        "durasi_menit": Kind.INT,
        "status_data": Kind.CODE,
        "diubah_pada": Kind.MOMENT,
    },
    TARGET: {
        "kode_kantor": Kind.CODE,
        "bulan": Kind.TEXT,
        "target_peserta_baru": Kind.INT,
        "target_peserta_aktif": Kind.INT,
        "target_iuran": Kind.IDR,
    },
}

KEY = {PENDAFTARAN: "no_pendaftaran", IURAN: "id_bayar", KEGIATAN: "kode_kegiatan"}

REQUIRED: dict[str, tuple[str, ...]] = {
    PENDAFTARAN: (
        *("no_pendaftaran", "kode_kantor", "tgl_pendaftaran", "nik", "nama_lengkap", "tgl_lahir", "jenis_kelamin"),
        *("kode_pekerjaan", "penghasilan", "kode_program", "jml_bulan", "kanal", "status_data", "diubah_pada"),
    ),
    IURAN: tuple(column for column in COLUMNS[IURAN] if column != "iuran_jht"),
    KEGIATAN: (
        *("kode_kegiatan", "kode_kantor", "jenis", "nama", "mulai", "selesai"),
        *("jumlah_kontak", "status_data", "diubah_pada"),
    ),
    TARGET: tuple(COLUMNS[TARGET]),
}


@dataclass(slots=True)
class Row:
    """One data row. `values` is what a faultless reader makes of it, `spelled` holds cells that are written otherwise.

    `errors` and `warnings` are the codes that the row earns, `nik_valid` is False when its NIK earns an error, and
    `cells` is the number of cells that it has too many (positive) or too few (negative).
    """

    values: dict[str, Value]
    warnings: set[str] = field(default_factory=set)
    errors: set[str] = field(default_factory=set)
    spelled: dict[str, str | float | None] = field(default_factory=dict)
    nik_valid: bool = True
    cells: int = 0

    def copy(self, **changes: Value) -> "Row":
        """A clean row of the same event with some values changed; the warnings of its NIK stay."""
        return Row({**self.values, **changes}, set(self.warnings))

    def text(self, column: str) -> str:
        """The value of a text column that is present."""
        value = self.values[column]
        assert isinstance(value, str)
        return value

    def number(self, column: str) -> int:
        """The value of a number or instant that is present."""
        value = self.values[column]
        assert isinstance(value, int)
        return value

    def day(self, column: str) -> date:
        """The value of a date that is present."""
        value = self.values[column]
        assert isinstance(value, date)
        return value
