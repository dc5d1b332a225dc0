"""Writes small deliveries as a branch would, for tests that pull them. Independent of the simulator."""

import csv
import hashlib
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

REGISTRATION = {
    "no_pendaftaran": "R-1",
    "kode_kantor": "KC001",
    "tgl_pendaftaran": "2023-12-11 09:00",
    "nik": "1171011203909001",
    "kpj": "",
    "nama_lengkap": "Orang Contoh",
    "tempat_lahir": "",
    "tgl_lahir": "1990-03-12",
    "jenis_kelamin": "L",
    "no_hp": "081234567890",
    "email": "",
    "alamat": "",
    "kode_pos": "",
    "kode_wilayah": "117101",
    "kode_pekerjaan": "NELAYAN",
    "lokasi_pekerjaan": "",
    "jam_awal": "",
    "jam_akhir": "",
    "penghasilan": "1000000",
    "kode_program": "JKK_JKM",
    "jml_bulan": "1",
    "kanal": "PASAR",
    "kode_kegiatan": "",
    "kode_petugas": "",
    "segmen": "",
    "status_data": "BARU",
    "diubah_pada": "2023-12-11 09:05",
}
CONTRIBUTION = {
    "id_bayar": "P-1",
    "kode_kantor": "KC001",
    "nik": "1171011203909001",
    "tgl_bayar": "2023-12-11 10:00",
    "kanal_bayar": "BRI",
    "periode_mulai": "2023-12-11",
    "jml_bulan": "1",
    "kode_program": "JKK_JKM",
    "iuran_jkk": "10000",
    "iuran_jkm": "6800",
    "iuran_jht": "0",
    "total": "16800",
    "status_data": "BARU",
    "diubah_pada": "2023-12-11 10:00",
}
ACTIVITY = {
    "kode_kegiatan": "A-1",
    "kode_kantor": "KC001",
    "jenis": "PASAR",
    "nama": "Blusukan pasar",
    "mulai": "2023-12-11 08:00",
    "selesai": "2023-12-11 11:00",
    "lokasi": "",
    "kode_wilayah": "",
    "sasaran_pekerjaan": "",
    "jumlah_kontak": "40",
    "biaya": "250000",
    "stasiun_radio": "",
    "durasi_menit": "",
    "status_data": "BARU",
    "diubah_pada": "2023-12-11 11:30",
}
TEMPLATE = {"pendaftaran": REGISTRATION, "iuran": CONTRIBUTION, "kegiatan": ACTIVITY}


def as_csv(feed: str, rows: list[dict[str, str]]) -> bytes:
    """A well-formed file: every row the feed's template with the given values over it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(TEMPLATE[feed]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(TEMPLATE[feed] | row for row in rows)
    return text.getvalue().encode()


def deliver(
    root: Path,
    feeds: dict[str, list[dict[str, str]]],
    *,
    branch_id: str = "KC001",
    day: date = date(2023, 12, 11),
    revision: int = 1,
    **manifest: Any,
) -> Path:
    """Writes files and manifest of one delivery; `manifest` overrides what the manifest says. Returns the folder."""
    folder = root / branch_id / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if revision == 1 else f".r{revision}"
    files = []
    for feed, rows in feeds.items():
        content = as_csv(feed, [{"kode_kantor": branch_id} | row for row in rows])
        name = f"{feed}{suffix}.csv"
        (folder / name).write_bytes(content)
        files.append(
            {
                "feed": feed,
                "name": name,
                "rows": len(rows),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    document = {
        "schema_version": 1,
        "branch_id": branch_id,
        "business_date": day.isoformat(),
        "revision": revision,
        "sent_at": f"{day}T19:02:11+07:00",
        "files": files,
    } | manifest
    (folder / f"manifest{suffix}.json").write_text(json.dumps(document))
    return folder
