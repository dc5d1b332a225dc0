"""Deliveries of a night, small enough to be counted on paper."""

from datetime import date
from pathlib import Path

from tests.deliveries import deliver


def send(root: Path, branch_id: str, day: date, segments: tuple[str, ...] = ("MANDIRI", "PMI")) -> None:
    """A delivery of a branch: a registration for each of `segments`, a payment of the first, an activity."""
    registered = []
    for place, segment in enumerate(segments):
        # Another invented person for each branch, day and place.
        person = (int(branch_id[2:]) * 31 + day.day) * 4 + place
        month, birth = person // 28 % 12 + 1, person % 28 + 1
        year = 70 + person // 336 % 30
        registered.append(
            {
                "no_pendaftaran": f"R-{day:%m%d}-{place}",
                "nik": f"117101{birth:02d}{month:02d}{year:02d}9001",
                "tgl_lahir": f"19{year}-{month:02d}-{birth:02d}",
                "tgl_pendaftaran": f"{day} 09:00",
                "diubah_pada": f"{day} 09:05",
                "segmen": segment,
            }
        )
    paid = {"id_bayar": f"P-{day:%m%d}", "tgl_bayar": f"{day} 10:00", "periode_mulai": f"{day}"}
    paid |= {"nik": registered[0]["nik"], "diubah_pada": f"{day} 10:00"}
    held = {"kode_kegiatan": f"A-{day:%m%d}", "mulai": f"{day} 08:00", "selesai": f"{day} 11:00"}
    feeds = {"pendaftaran": registered, "iuran": [paid], "kegiatan": [held | {"diubah_pada": f"{day} 11:30"}]}
    deliver(root, feeds, branch_id=branch_id, day=day)
