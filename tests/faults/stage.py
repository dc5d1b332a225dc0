"""What the fault tests share: victims, the deliveries that they pull, what a warehouse and a home hold in the end."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from tests.deliveries import deliver

VICTIM = Path(__file__).with_name("victim.py")
DAYS = (date(2023, 12, 11), date(2023, 12, 12))
BRANCHES = ("HQ", "KC001", "KC002")
KEY = "ab" * 32
ROWS_A_PART = 40
Trap = dict[str, Any]


def trap(at: str, when: str = "before", nth: int = 1, having: str = "") -> Trap:
    """See victim.Traps."""
    return {"at": at, "when": when, "nth": nth, "having": having}


class Victims:
    """A process that has the pipeline imported and forks victims, so that each costs no more than its work."""

    def __init__(self, *preload: str) -> None:
        command = [sys.executable, str(VICTIM), *preload]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._answer() == "ready"

    def start(self, home: "Home", call: str, *arguments: Any, traps: tuple[Trap, ...] = (), **more: Any) -> int:
        """Forks a victim; returns its pid."""
        task = {"call": call, "arguments": arguments, "traps": traps, "log": str(home.log), "rows_a_part": ROWS_A_PART}
        task |= more
        pid = self._ask({"start": {"environment": home.environment, **task}})
        assert isinstance(pid, int)
        return pid

    @staticmethod
    def kill(pid: int) -> None:
        """Ends a victim as the kernel would, unless it has ended by itself."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def wait(self, pid: int, seconds: float = 600) -> int | None:
        """The exit status of a victim, -9 when it was killed, None when it did not end in time."""
        status = self._ask({"wait": pid, "seconds": seconds})
        assert status is None or isinstance(status, int)
        return status

    def run(self, home: "Home", call: str, *arguments: Any, traps: tuple[Trap, ...] = (), **more: Any) -> int | None:
        """Forks a victim and waits for its end."""
        return self.wait(self.start(home, call, *arguments, traps=traps, **more))

    def close(self) -> None:
        """Ends the process."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(30)

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert line, "the process of the victims is gone"
        return json.loads(line)


@dataclass
class Home:
    """An installation: its folder, its warehouse, and the folder that the branches deliver to."""

    folder: Path
    database: str
    root: Path
    more: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def __post_init__(self) -> None:
        (self.folder / "keys").mkdir(parents=True, exist_ok=True)
        key = self.folder / "keys" / "pii.key"
        key.write_text(KEY)
        key.chmod(0o600)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process work for this installation."""
        place = {"KKBC_HOME": str(self.folder), "KKBC_DATABASE_URL": self.database}
        return {**place, "KKBC_REGISTRY": str(self.root.with_suffix(".yml")), **self.more}

    @property
    def log(self) -> Path:
        """What the victims printed, none of it expected."""
        return self.root.parent / f"{conninfo_to_dict(self.database).get('dbname', 'embedded')}.log"

    def forget_log(self) -> None:
        """Whatever was printed before is not looked at any more."""
        self.log.unlink(missing_ok=True)

    def complaint(self) -> str:
        """The one line that the command line complained in; no traceback is next to it, and no person."""
        text = self.log.read_text()
        assert "Traceback" not in text, text
        assert not re.search(r"\d{16}", text)
        (line,) = [line for line in text.splitlines() if line.startswith("kkbc: ")]
        self.log.unlink()
        return line

    @property
    def landing(self) -> Path:
        """The landing area."""
        return Path(self.more.get("KKBC_LANDING_URI", self.folder / "landing"))

    def pull_arguments(
        self, branches: tuple[str, ...] = BRANCHES, day: date = DAYS[-1], run_id: str = ""
    ) -> tuple[Any, ...]:
        """A new night for the call `pull` of a victim."""
        self.runs += 1
        return str(self.root), DAYS[0].isoformat(), day.isoformat(), list(branches), run_id or f"run {self.runs}"

    def run_arguments(self, day: date = DAYS[-1]) -> tuple[str, ...]:
        """A whole night for the call `command` of a victim."""
        days = ("--as-of", day.isoformat(), "--first-business-date", DAYS[0].isoformat())
        return "run", "--source-root", str(self.root), *days, "--gate", "warn"

    def query(self, statement: str) -> list[Any]:
        """Rows of the warehouse, seen by its owner."""
        with psycopg.connect(self.database) as conn:
            return conn.execute(statement).fetchall()  # type: ignore[arg-type]

    def pulled(self) -> dict[str, Any]:
        """All that pulls leave behind, but for times and numbers that are given out one after the other."""
        return {**tables(self.database, PULLED), "landing": files(self.landing), "spool": spooled(self.folder)}

    def published(self) -> dict[str, Any]:
        """All that BI can see, but for the numbers and times of publications."""
        names = self.query(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('bi', 'bi_detail')"
            " order by 1"
        )
        days = self.query("select as_of from bi.publication")
        if not days:
            return {}
        return {**tables(self.database, {name: () for (name,) in names}), "as of": days}


LINEAGE = ("_load_id",)
PULLED = {
    "raw.registrations": LINEAGE,
    "raw.contributions": LINEAGE,
    "raw.activities": LINEAGE,
    "raw.targets": LINEAGE,
    "vault.registrations": LINEAGE,
    "vault.contributions": LINEAGE,
    "ops.slice": (
        "first_seen_at",
        "manifest_seen_at",
        "loaded_at",
        "load_id",
        "retry_load_ids",
        "run_id",
        "build_id",
        "landed_uri",
    ),
    "ops.quarantine": ("first_seen_at", "closed_at", "load_id"),
    "ops.manifest": ("seen_at", "checked_at", "first_seen_at"),
    "ops.branch": ("synced_at",),
}


def tables(database: str, hidden: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Of each table the number of its rows and a hash over them, without the columns named."""
    found = {}
    with psycopg.connect(database) as conn:
        for table, columns in hidden.items():
            row = conn.execute(
                "select format('%%s rows, %%s', count(*), md5(string_agg(line, e'\\n' order by line collate \"C\")))"
                f" from (select (to_jsonb(t) - %s::text[])::text as line from {table} t) lines",  # type: ignore[arg-type]
                [list(columns)],
            ).fetchone()
            assert row is not None
            found[table] = str(row[0])
    return found


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder, with the hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def spooled(home: Path) -> list[str]:
    """What lies in the spool: nothing, when no visit is under way."""
    folder = home / "spool"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.is_dir() else []


def with_times(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below a folder with its time and content: where a branch would see that something was altered."""
    return {name: ((folder / name).stat().st_mtime_ns, content) for name, content in files(folder).items()}


def assert_killed(status: int | None) -> None:
    """The point was reached, and the process died there."""
    assert status == -signal.SIGKILL, f"the process ended with {status} before it came to the point"


def assert_landing_is_whole(home: Home) -> None:
    """Whatever lies in landing under a name that says so is complete: the bytes as sent, and all parts of the rows."""
    for sent in home.landing.rglob("sent/*"):
        digest = hashlib.sha256(sent.read_bytes()).hexdigest()
        assert sent.parent.parent.name.endswith(f"-{digest[:12]}"), f"{sent} is not what its folder says"
    for rows in home.landing.rglob("rows"):
        names = sorted(path.name for path in rows.iterdir())
        parts = len(names) // 2
        kinds = ("accepted", "quarantined")
        assert names == [f"{kind}-{number:05}.parquet" for kind in kinds for number in range(parts)]
        for path in rows.iterdir():
            pl.read_parquet(path)


@contextmanager
def spool_folder_of(home: Home, name: str) -> Iterator[Path]:
    """A folder in the spool of a home that this process works in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KKBC_HOME", str(home.folder))
        get_settings.cache_clear()
        with spool_folder(name) as folder:
            yield folder
    get_settings.cache_clear()


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own at `path`, that can be filled. Skips where none can be mounted."""
    path.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(path)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path, but: int) -> Path:
    """Fills a disk up to so many bytes; returns the file that does."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    with ballast.open("wb") as file:
        file.write(bytes(max(free.f_bavail * free.f_frsize - but, 0)))
    return ballast


def nik(number: int) -> str:
    """A valid NIK of a man born on 12 March 1990."""
    return f"117101120390{number:04}"


def registration(number: int, **other: str) -> dict[str, str]:
    """A valid registration."""
    return {"no_pendaftaran": f"R-{number:04}", "nik": nik(number), **other}


def contribution(number: int, **other: str) -> dict[str, str]:
    """A valid contribution of the same person as the registration of that number."""
    return {"id_bayar": f"P-{number:04}", "nik": nik(number), **other}


def make_deliveries(root: Path) -> None:
    """Two days of two branches and the targets: long slices, bad rows, keys that come twice, a slice that is cut off,
    and revisions of what the same visit finds first. Next to the folder their registry."""
    first, second = DAYS
    registrations = [registration(number) for number in range(1, 101)]
    for number in (7, 58, 99):
        registrations[number] |= {"nik": "123"}
    registrations += [registration(number, diubah_pada="2023-12-11 12:00") for number in (1, 50, 90)]
    contributions = [contribution(number) for number in range(1, 61)]
    contributions[3] |= {"total": "1"}
    deliver(
        root,
        {
            "pendaftaran": registrations,
            "iuran": contributions,
            "kegiatan": [{"kode_kegiatan": f"A-{number}"} for number in range(1, 6)] + [{"jumlah_kontak": "-1"}],
        },
        day=first,
    )
    deliver(root, {"pendaftaran": [*registrations[:70], registration(200, nik="9")]}, day=first, revision=2)
    folder = deliver(root, {"pendaftaran": _next_day(registrations[:20]), "iuran": contributions[:50]}, day=second)
    (folder / "iuran.csv").write_bytes((folder / "iuran.csv").read_bytes()[:-5])
    for day in DAYS:
        deliver(root, {"pendaftaran": [], "iuran": contributions[20:40]}, branch_id="KC002", day=day)
    deliver(root, {"iuran": contributions[25:45]}, branch_id="KC002", day=first, revision=2)
    make_targets(root)
    offices = [{"branch_id": name, "kind": "file", "timezone": "Asia/Jakarta", "tier": 1} for name in BRANCHES]
    root.with_suffix(".yml").write_text(yaml.safe_dump({"branches": offices}))
    # As old as they would be in real life: written long before the visit.
    for path in root.rglob("*"):
        os.utime(path, (datetime(2023, 12, 13).timestamp(),) * 2)


def _next_day(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    moved = []
    for number, row in enumerate(rows):
        at = {"tgl_pendaftaran": f"{DAYS[1]} 09:00", "diubah_pada": f"{DAYS[1]} 09:30"}
        moved.append(row | at | {"no_pendaftaran": f"R-1{number:03}"})
    return moved


def make_targets(root: Path) -> None:
    """The targets of head office, with one bad row."""
    folder = root / "HQ" / "2023-12-01"
    folder.mkdir(parents=True)
    rows = [f"{branch},2023-12,{20 + n},100,1000000" for n, branch in enumerate(("KC001", "KC002", "KC003"))]
    content = "\n".join(
        ["kode_kantor,bulan,target_peserta_baru,target_peserta_aktif,target_iuran", *rows, "KC004,2023-12,-1,1,1", ""]
    ).encode()
    (folder / "target.csv").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    listed = {"feed": "target", "name": "target.csv", "rows": 4, "bytes": len(content), "sha256": digest}
    manifest = {
        "schema_version": 1,
        "branch_id": "HQ",
        "business_date": "2023-12-01",
        "revision": 1,
        "sent_at": "2023-12-01T08:00:00+07:00",
        "files": [listed],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
