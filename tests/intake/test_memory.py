"""Memory stays flat however long the slice is: measured as the kernel counts it, in a process a file."""

import subprocess
import sys
from pathlib import Path

from tests.deliveries import REGISTRATION, as_csv

ROWS_A_MEGABYTE = 1000

# Lands a file, takes it in by small parts, loads it; prints rows in the warehouse and the peak of memory in kB.
SCRIPT = """
import resource, sys
from datetime import UTC, date, datetime
from pathlib import Path
from kkbc.core.tokens import Key
from kkbc.exchange.contracts import load_contract
from kkbc.intake.process import take_in
from kkbc.intake.landing import Landing
from kkbc.exchange.registry import load_registry
from kkbc.core.settings import get_settings
from kkbc.exchange.slices import Entry, Slice
from kkbc.intake.validation import Context
from kkbc.warehouse import connect
from kkbc.slices import SliceRecord, load

path, rows, run_id = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
slice_ = Slice("pendaftaran", "KC001", date(2023, 12, 11), rows)
landing = Landing(get_settings().landing)
contract = load_contract("pendaftaran")
context = Context(slice_, load_registry().get("KC001").zone, datetime(2023, 12, 12, tzinfo=UTC), frozenset({"KC001"}))
landed = landing.land(slice_, "pendaftaran.csv", path)
intake = take_in(landed, Entry("pendaftaran", rows), contract, context, landing, Key(1, b"k" * 32), batch_rows=2000)
with connect("loader", autocommit=True) as conn:
    load(conn, contract, SliceRecord(slice_, run_id, "0" * 64, rows, None), intake.rows)
    print(conn.execute("select count(*) from raw.registrations").fetchone()[0])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write(path: Path, megabytes: int) -> int:
    """A file of about so many megabytes, a tenth of its rows superseding others; returns the number of rows."""
    address = "Jl. Panjang " * 70
    header, line = as_csv("pendaftaran", [REGISTRATION | {"alamat": address, "no_pendaftaran": "@"}]).splitlines(True)
    count = megabytes * ROWS_A_MEGABYTE
    with path.open("wb") as file:
        file.write(header)
        for number in range(count):
            file.write(line.replace(b"@", b"R-%d" % (number % (count * 9 // 10)), 1))
    return count


def peak(tmp_path: Path, megabytes: int) -> int:
    """Megabytes that taking in such a file needs at most."""
    path = tmp_path / "sent"
    rows = write(path, megabytes)
    assert megabytes * 0.95 < path.stat().st_size / 10**6 < megabytes * 1.1
    command = [sys.executable, "-c", SCRIPT, str(path), str(rows), "r"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(printed[0]) == rows * 9 // 10
    return int(printed[1]) // 1024


def test_many_times_the_bytes_take_little_more_memory(warehouse: str, home: Path, tmp_path: Path) -> None:
    from kkbc.warehouse import connect

    with connect("loader") as conn:
        conn.execute("insert into ops.run (run_id, as_of, mode) values ('r', '2023-12-31', 'plain')")
    short = peak(tmp_path, 8)
    long = peak(tmp_path, 64)
    print(f"peak of a file of 8 MB: {short} MB; of 64 MB: {long} MB")
    assert long - short < 60
