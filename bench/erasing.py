"""What a suppression list costs a slice, and what it costs to take persons out of one: seconds of the processor.

python bench/erasing.py [rows]
"""

import csv
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from kkbc.core.settings import get_settings
from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Entry, Slice
from kkbc.intake.erasing import Persons, Taken, erase_from
from kkbc.intake.landing import Landed, Landing
from kkbc.intake.process import Intake, take_in
from kkbc.intake.validation import Context

REPETITIONS = 3
ROW = {
    **{"no_pendaftaran": "", "kode_kantor": "KC001", "tgl_pendaftaran": "2023-12-11 09:00", "nik": ""},
    **{"nama_lengkap": "", "tgl_lahir": "1990-03-12", "jenis_kelamin": "L", "no_hp": "081234567890"},
    **{"alamat": "Jalan Contoh 1", "kode_wilayah": "117101", "kode_pekerjaan": "NELAYAN", "penghasilan": "1000000"},
    **{"kode_program": "JKK_JKM", "jml_bulan": "1", "kanal": "PASAR", "status_data": "BARU"},
    **{"diubah_pada": "2023-12-11 09:05"},
}
KEY = b"k" * 32


def nik(number: int) -> str:
    """A NIK of an invented person."""
    return f"1171{number % 100:02d}{number % 28 + 1:02d}{number // 28 % 12 + 1:02d}90{9000 + number // 336 % 1000}"


class Bench:
    """One slice of so many rows in a landing of its own."""

    def __init__(self, folder: Path, rows: int) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(ROW)
        for number in range(rows):
            changes = {"no_pendaftaran": f"R-{number}", "nik": nik(number), "nama_lengkap": f"Orang {number}"}
            writer.writerow((ROW | changes).values())
        self.content, self.rows, self.folder = text.getvalue().encode(), rows, folder
        self.landing, self.contract = Landing(str(folder / "landing")), load_contract("pendaftaran")

    def context(self, suppression: Suppression) -> Context:
        """Of the slice."""
        zone, sent = load_registry().get("KC001").zone, datetime(2023, 12, 11, 17, tzinfo=UTC)
        slice_ = Slice("pendaftaran", "KC001", date(2023, 12, 11), 1)
        return Context(slice_, zone, sent, frozenset({"KC001"}), suppression=suppression)

    def land(self) -> Landed:
        """The file as sent."""
        (self.folder / "spooled").write_bytes(self.content)
        return self.landing.land(self.context(Suppression()).slice, "pendaftaran.csv", self.folder / "spooled")

    def take(self, suppression: Suppression) -> Intake:
        """Takes the slice in."""
        landed = self.land()
        entry = Entry("pendaftaran", self.rows, landed.name, landed.bytes, landed.sha256)
        return take_in(landed, entry, self.contract, self.context(suppression), self.landing, KEY)

    def erase(self, persons: Persons) -> None:
        """Takes persons out of the slice as it was taken in."""
        taken = Taken(self.contract, self.context(Suppression()), KEY, self.rows)
        erase_from(self.landing, self.land().uri, None, persons, taken)


def seconds(what: Callable[[], object], before: Callable[[], object] = lambda: None) -> str:
    """The least that it takes, and all of it."""
    taken = []
    for _ in range(REPETITIONS):
        before()
        began = time.process_time()
        what()
        taken.append(time.process_time() - began)
    return f"{min(taken):.2f} s ({', '.join(f'{one:.2f}' for one in taken)})"


def main() -> None:
    """Prints a line for each case."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KKBC_HOME"] = folder
        get_settings.cache_clear()
        bench = Bench(Path(folder), rows)
        print(f"{rows} rows, {len(bench.content) / 1e6:.1f} MB")
        keys = (b"1" * 32,)
        none, one = (
            Suppression(keys, frozenset({Suppression(keys).token_of(n)})) for n in ("1171011203909999", nik(5))
        )
        print("taken in, no list:                  ", seconds(lambda: bench.take(Suppression())))
        print("taken in, nobody of the list in it: ", seconds(lambda: bench.take(none)))
        print("taken in, one of the list in it:    ", seconds(lambda: bench.take(one)))
        nobody = Persons(frozenset({"1171011203909999"}), frozenset({"Orang Tiada"}))
        ten = Persons(frozenset(nik(number) for number in range(0, rows, rows // 10)))
        print("erased, nobody of them in it:       ", seconds(lambda: bench.erase(nobody)))
        print(
            "erased, ten persons:                ", seconds(lambda: bench.erase(ten), lambda: bench.take(Suppression()))
        )


if __name__ == "__main__":
    main()
