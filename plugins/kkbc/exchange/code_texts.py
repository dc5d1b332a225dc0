"""What the codes of rows and the reasons of rejections mean, in Indonesian: the words of every page for people."""

from typing import get_args

from kkbc.exchange.slices import RejectionReason, RowCode

CODES: dict[RowCode, str] = {
    "ROW_SHAPE": "jumlah kolom baris tidak sesuai judul kolom",
    "REQUIRED_MISSING": "isian wajib kosong",
    "VALUE_INVALID": "isian tidak dapat dibaca atau terlalu panjang",
    "CODE_UNKNOWN": "kode tidak dikenal",
    "BRANCH_MISMATCH": "kode kantor bukan kantor pengirim",
    "NIK_FORMAT": "NIK bukan 16 digit",
    "NIK_REGION": "kode wilayah dalam NIK tidak dikenal",
    "NIK_DATE": "tanggal lahir dalam NIK tidak ada",
    "NIK_BIRTH_DATE": "tanggal lahir berbeda dari NIK",
    "NIK_SEX": "jenis kelamin berbeda dari NIK",
    "AGE_RANGE": "usia di luar batas kepesertaan",
    "DATE_FUTURE": "tanggal setelah tanggal data",
    "INCOME_RANGE": "penghasilan di luar batas yang wajar",
    "MONTHS_RANGE": "jumlah bulan di luar batas",
    "PHONE_FORMAT": "nomor telepon tidak sesuai bentuk",
    "EMAIL_FORMAT": "alamat surel tidak sesuai bentuk",
    "DISTRICT_UNKNOWN": "kode wilayah kerja tidak dikenal",
    "AMOUNT_SUM": "total bukan jumlah iuran program",
    "AMOUNT_TIER": "iuran tidak sesuai tarif",
    "PERIOD_ORDER": "selesai sebelum mulai",
    "NEGATIVE": "angka negatif",
    "ERASED": "data orang ini telah dihapus atas permintaan",
    "KEY_DUPLICATE": "nomor yang sama muncul lebih dari sekali dalam kiriman",
}

REASONS: dict[RejectionReason, str] = {
    "SCHEMA_VERSION": "versi manifes tidak dikenal",
    "MANIFEST_BRANCH": "manifes milik kantor lain",
    "MANIFEST_DATE": "manifes bertanggal lain",
    "FILE_MISSING": "berkas tidak ada",
    "CHECKSUM": "isi berkas tidak sesuai manifes",
    "UNREADABLE": "berkas tidak dapat dibaca",
    "HEADER": "judul kolom tidak sesuai",
    "ROW_COUNT": "jumlah baris tidak sesuai manifes",
}


def in_words(code: str) -> str:
    """A code of a row or the reason of a rejection in words; the code itself where it is no longer known."""
    if code in get_args(RowCode):
        return CODES[code]  # type: ignore[index]
    return REASONS[code] if code in get_args(RejectionReason) else code  # type: ignore[index]
