#!/usr/bin/env python3
"""What a visit to a hostile branch costs: seconds, peak memory, and what comes of it.

    .venv/bin/python bench/hostile.py [--visit-seconds 30] [NAME ...]

Every hostile branch of tests/intake/sources/hostile is visited by one process of its own, by `kkbc.nights.visit.pull`,
into a warehouse of its own; it has good deliveries on the day before and the day after. The branch itself is another
process. Bounds are those of the settings, but for the visit's time (--visit-seconds), so that what would last for eight
minutes ends sooner, and for the length of a slice where the table says so. `disk-full` has a disk of 64 MB, which needs
root.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Name, attack, and settings that differ.
ATTACKS: dict[str, tuple[str, dict[str, str]]] = {
    "good": ("good_folder", {}),
    "sparse 40 GiB, folder": ("sparse_folder", {}),
    "sparse 40 GiB, SFTP": ("sparse_sftp", {}),
    "sparse 40 GiB, S3": ("sparse_s3", {}),
    "rows 10**15, API": ("rows_without_end", {"KKBC_SLICE_BYTES": str(64 << 20)}),
    "manifest of 128 MiB, API": ("manifest_that_unfolds", {}),
    "page of 8 MiB of lists, API": ("page_of_lists", {}),
    "cursor of 8 MB, API": ("cursor_of_ten_megabytes", {}),
    "header sent byte by byte, API": ("header_in_drips", {}),
    "endless 100 Continue, API": ("continue_for_ever", {}),
    "endless 103, API": ("early_hints_for_ever", {}),
    "1,000 rows of 2 MB, database": ("rows_of_two_megabytes", {}),
    "endless listing, SFTP": ("endless_sftp_listing", {}),
    "300,000 names in one answer, SFTP": ("names_in_one_answer", {}),
    "NAME count 2**32 - 1, SFTP": ("names_without_number", {}),
    "attributes 2**32 - 1, SFTP": ("attributes_without_number", {}),
    "packet of 4 GiB, SSH": ("packet_of_four_gigabytes", {}),
    "endless listing, S3": ("endless_s3_listing", {}),
    "listing of 100 MB, S3": ("listing_of_a_hundred_megabytes", {}),
    "disk full, folder": ("disk_full", {}),
    # Of head office, for that is whose feed these workbooks are of; see tests/intake/reading/hostile_workbooks.py.
    "string of 10 MB referenced 2,700 times, xlsx": ("workbook:strings_times_uses", {}),
    "32 kB string named 80,000 times, xlsx": ("workbook:medium_strings_times_uses", {}),
    "strings in cells, xlsx": ("workbook:inline_strings", {}),
    "9 million strings, xlsx": ("workbook:many_different_strings", {}),
    "last column of 300,000 rows, xlsx": ("workbook:wide_rows", {}),
    "10 million empty cells, xlsx": ("workbook:empty_cells", {}),
    "10^6 members of the zip, xlsx": ("workbook:many_members", {}),
    "billion laughs, xlsx": ("workbook:billion_laughs", {}),
    "deep nesting, xlsx": ("workbook:deep_nesting", {}),
    "2 million names of tags, xlsx": ("workbook:names_without_end", {}),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(ATTACKS)}")
    parser.add_argument("--visit-seconds", type=float, default=30)
    parser.add_argument("--visit", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.visit:
        print(json.dumps(_visit(json.loads(arguments.visit))))
        return
    print("| hostile branch | peak RSS MB | seconds | slices loaded | rejected | the visit |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="kkbc-hostile-") as folder:
        Path(folder).chmod(0o755)
        with _warehouse(Path(folder) / "home") as server:
            for name in arguments.names or ATTACKS:
                attack, settings = ATTACKS[name]
                found = _measured(attack, settings, Path(folder), server, arguments.visit_seconds)
                print(
                    f"| {name} | {found['peak_mb']:.0f} | {found['seconds']:.1f} | {found['loaded']} |"
                    f" {found['rejected']} | {found['outcome']} |",
                    flush=True,
                )


@contextmanager
def _warehouse(home: Path) -> Iterator[Any]:
    os.environ["KKBC_HOME"] = str(home)
    from kkbc.core import tokens
    from kkbc.warehouse import migrate, schema, server

    running = server.start(home)
    try:
        schema.create_database(running, "bench")
        os.environ["KKBC_DATABASE_URL"] = running.conninfo("bench")
        migrate()
        tokens.ensure_key(home)
        yield running
    finally:
        server.stop(home)


def _measured(attack: str, settings: dict[str, str], folder: Path, server: Any, seconds: float) -> dict[str, Any]:
    """What a process that visits this branch says of itself."""
    from tests.intake.sources import hostile

    from kkbc.warehouse import connect

    with connect() as conn:
        conn.execute(
            "truncate raw.registrations, raw.contributions, raw.activities, vault.registrations, vault.contributions,"
            " ops.quarantine, ops.slice, ops.manifest, ops.attempt, ops.run cascade"
        )
        conn.execute("insert into ops.run (run_id, as_of, mode) values ('bench', '2023-12-12', 'plain')")
    environment = os.environ | {"KKBC_VISIT_SECONDS": str(seconds)} | settings
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        if attack == "disk_full":
            made = _small_disk(root, environment)
        elif attack == "good_folder":
            made = _good(root)
        elif attack.startswith("workbook:"):
            made = _workbook(root, attack.partition(":")[2])
        elif attack == "rows_of_two_megabytes":
            made = hostile.rows_of_two_megabytes(root, server)
        else:
            made = getattr(hostile, attack)(root)
        with made as there:
            branch_id = "HQ" if attack.startswith("workbook:") else "KC001"
            asked = json.dumps({"branch_id": branch_id, "kind": there.kind, "fields": there.fields})
            command = [sys.executable, __file__, "--visit", asked]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"peak_mb": 0, "seconds": 0, "loaded": 0, "rejected": 0, "outcome": f"died: {done.stderr[-300:]!r}"}
    return dict(json.loads(done.stdout))


@contextmanager
def _good(root: Path) -> Iterator[Any]:
    from tests.intake.sources import hostile

    hostile.deliveries(root)
    yield hostile.Attack("file", {"extra": {"root": str(root)}})


@contextmanager
def _workbook(root: Path, name: str) -> Iterator[Any]:
    """Targets of head office on three days, those of the middle one as a hostile workbook."""
    from tests.intake.reading import hostile_workbooks
    from tests.intake.reading.conftest import TARGET_WIRES
    from tests.intake.sources import hostile

    good = ";".join(TARGET_WIRES) + "\nKC001;2023-12;10;20;30\n"
    for day in hostile.DAYS:
        is_hostile = day == hostile.DAY
        content = getattr(hostile_workbooks, name)() if is_hostile else good.encode()
        file = "target.xlsx" if is_hostile else "target.csv"
        folder = root / "HQ" / str(day)
        folder.mkdir(parents=True)
        (folder / file).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        listed = {"feed": "target", "name": file, "rows": 1, "bytes": len(content), "sha256": digest}
        manifest = {"schema_version": 1, "branch_id": "HQ", "business_date": str(day), "revision": 1, "files": [listed]}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    yield hostile.Attack("file", {"extra": {"root": str(root)}})


@contextmanager
def _small_disk(root: Path, environment: dict[str, str]) -> Iterator[Any]:
    """A contribution file of 100 MB, and landing and spool on a disk of 64 MB."""
    from tests.deliveries import as_csv, deliver
    from tests.intake.sources import hostile

    (root / "branches").mkdir()
    hostile.deliveries(root / "branches")
    content = as_csv("iuran", [{}])
    line = content.splitlines(keepends=True)[1]
    deliver(root / "branches", {"iuran": [{}]}, day=hostile.DAY, revision=2)
    path = root / "branches" / "KC001" / str(hostile.DAY) / "iuran.r2.csv"
    path.write_bytes(content + line * ((100 << 20) // len(line)))
    manifest = path.with_name("manifest.r2.json")
    manifest.write_text(
        json.dumps(
            json.loads(manifest.read_text())
            | {
                "files": [
                    {"feed": "iuran", "name": path.name, "rows": 1, "bytes": path.stat().st_size, "sha256": "ab" * 32}
                ]
            }
        )
    )
    disk = root / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0755", "tmpfs", str(disk)], check=True)
    keys = Path(environment["KKBC_HOME"]) / "keys"
    home = disk / "home"
    (home / "keys").mkdir(parents=True, mode=0o700)
    for key in keys.iterdir():
        (home / "keys" / key.name).write_bytes(key.read_bytes())
        (home / "keys" / key.name).chmod(0o600)
    environment["KKBC_HOME"] = str(home)
    try:
        yield hostile.Attack("file", {"extra": {"root": str(root / "branches")}})
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _visit(attack: dict[str, Any]) -> dict[str, Any]:
    """One visit, in this process."""
    from datetime import date

    from tests.intake.sources.pulled import keep_connection

    from kkbc.exchange.registry import Branch
    from kkbc.nights.visit import pull
    from kkbc.warehouse import connect

    keep_connection("hostile", attack["kind"], **attack["fields"])
    branch = Branch.model_validate({"branch_id": attack["branch_id"], "kind": attack["kind"], "connection": "hostile"})
    outcome = "succeeds"
    began = time.perf_counter()
    with _Watch() as watch, connect("loader", autocommit=True) as conn:
        try:
            pull(conn, branch, run_id="bench", until=date(2023, 12, 12), root=None)
        except Exception as error:
            outcome = type(error).__name__
        seconds = time.perf_counter() - began
        rows = conn.execute("select status, reason from ops.slice where status in ('loaded', 'rejected')").fetchall()
    reasons = sorted({reason for status, reason in rows if status == "rejected"})
    with suppress(FileNotFoundError):
        (Path(os.environ["KKBC_HOME"]) / "keys" / "connections.json").unlink()
    return {
        "peak_mb": watch.peak_mb,
        "seconds": seconds,
        "loaded": sum(status == "loaded" for status, _ in rows),
        "rejected": " ".join([str(sum(status == "rejected" for status, _ in rows)), *reasons]),
        "outcome": outcome,
    }


class _Watch(threading.Thread):
    """The peak of this process and of those that it starts, together, as the kernel keeps it of each.

    What getrusage tells of a child may be that of the one that started it.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._children: dict[int, float] = {}

    def __enter__(self) -> "_Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.01):
            for child in psutil.Process().children():
                with suppress(OSError, StopIteration):
                    self._children[child.pid] = _peak_mb(child.pid)

    @property
    def peak_mb(self) -> float:
        """Megabytes."""
        return _peak_mb(os.getpid()) + max(self._children.values(), default=0.0)


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
