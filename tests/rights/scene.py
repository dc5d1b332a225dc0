"""A home with a server of its own, a thousand invented people in it after two nights, and what a test asks of it."""

import contextlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc.cli.application import main
from kkbc.core.settings import get_settings
from kkbc.nights import RunRequest, plain
from kkbc.nights.prepare import prepare
from kkbc.warehouse import connect, server
from tests.deliveries import deliver

DAYS = (date(2023, 12, 11), date(2023, 12, 12))
BRANCHES = ("KC001", "KC002")
PEOPLE = 1000
# Every hundredth person, of both branches.
ERASED = tuple(range(5, PEOPLE, 100))
_FIRST = ("Budi", "Siti", "Agus", "Dewi", "Eko", "Fitri", "Gita", "Hadi", "Indra", "Joko")
_LAST = ("Wijayakusumah", "Lestarini", "Prasetyawan", "Handayaningrum", "Kurniadi", "Ramadhanti")


def nik(number: int) -> str:
    """A valid NIK, with an invented serial, another for each person."""
    region, day = 117101 + number // 1000, 1 + number // 1000
    return f"{region}{day:02d}0390{9000 + number % 1000:04d}"


def name(number: int) -> str:
    """A name that nobody else has."""
    return f"{_FIRST[number % 10]} {chr(65 + number % 26)}{chr(97 + number // 26 % 26)}z{_LAST[number % 6].lower()}"


def phone(number: int) -> str:
    return f"0812{70000000 + number}"


def email(number: int) -> str:
    return f"orang.{number:04d}@contoh.example"


def registration(number: int, **other: str) -> dict[str, str]:
    born = f"1990-03-{1 + number // 1000:02d}"
    own = {"nik": nik(number), "nama_lengkap": name(number), "no_hp": phone(number), "email": email(number)}
    return {"no_pendaftaran": f"R-{number:04d}", "tgl_lahir": born, **own, **other}


def contribution(number: int, **other: str) -> dict[str, str]:
    return {"id_bayar": f"P-{number:04d}", "nik": nik(number), **other}


def of_branch(branch_id: str) -> list[int]:
    return [number for number in range(PEOPLE) if BRANCHES[number % 2] == branch_id]


def deliver_first_nights(root: Path) -> None:
    """Two days of two branches: a revision that leaves people out, rows that are quarantined, keys that come twice."""
    first, second = DAYS
    for branch_id in BRANCHES:
        people = of_branch(branch_id)
        registrations = [registration(number) for number in people]
        registrations[2] |= {"kanal": "TIDAK ADA"}  # of person 4 or 5: quarantined
        deliver(
            root,
            {
                "pendaftaran": registrations,
                "iuran": [contribution(number) for number in people[:300]],
                "kegiatan": [{"kode_kegiatan": "A-1", "lokasi": f"rumah {name(people[52])}"}],
            },
            branch_id=branch_id,
            day=first,
        )
        later = {"tgl_bayar": f"{second} 10:00", "periode_mulai": str(second), "diubah_pada": f"{second} 10:00"}
        moved = {"tgl_pendaftaran": f"{second} 09:00", "diubah_pada": f"{second} 09:30"}
        deliver(
            root,
            {
                "pendaftaran": [registration(n, no_pendaftaran=f"S-{n}", **moved) for n in people[:60]],
                "iuran": [contribution(n, id_bayar=f"Q-{n}", **later) for n in people[300:500]],
                "kegiatan": [],
            },
            branch_id=branch_id,
            day=second,
        )


@dataclass
class Scene:
    """An installation and the folder that its branches deliver to."""

    home: Path
    root: Path
    figures: dict[str, Any] = field(default_factory=dict)

    def night(self, day: date) -> dict[str, Any]:
        """Runs a night, and returns its outcome."""
        request = RunRequest(day, self.root, first_business_date=DAYS[0], gate="warn")
        return plain.run_night(request, lambda *_: None)

    def persons_file(self, numbers: tuple[int, ...], *, with_values: bool = False) -> Path:
        """A file with the NIKs of people, and, when asked for, all else that they are known by."""
        path = self.home.parent / f"persons-{len(numbers)}-{with_values}.txt"
        path.touch(mode=0o600)
        lines = [";".join([nik(n), name(n), phone(n), email(n)]) if with_values else nik(n) for n in numbers]
        path.write_text("\n".join(lines) + "\n")
        return path


@contextlib.contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """A new home with a server of its own, and the deliveries of the first nights."""
    home, root = folder / "home", folder / "branches"
    registry = folder / "branches.yml"
    registry.write_text("branches:\n" + "".join(f"  - {{branch_id: {name}}}\n" for name in ("HQ", *BRANCHES)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KKBC_HOME", str(home))
        patch.setenv("KKBC_REGISTRY", str(registry))
        patch.delenv("KKBC_DATABASE_URL", raising=False)
        get_settings.cache_clear()
        prepare()
        try:
            deliver_first_nights(root)
            yield Scene(home, root)
        finally:
            server.stop(home)
            get_settings.cache_clear()


def kkbc(*arguments: str) -> tuple[int, str]:
    """The exit status of a command, and all that it prints."""
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        patch.setattr(sys, "argv", ["kkbc", *arguments])
        patch.setenv("COLUMNS", "400")
        try:
            main()
            status: Any = 0
        except SystemExit as end:
            status = end.code or 0
    return int(status), printed.getvalue()


def rows(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connect() as conn:
        return conn.execute(query, list(parameters)).fetchall()  # type: ignore[arg-type]


def figures(schema: str = "bi") -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every published mart, sorted; of facts without the token."""
    found = {}
    for (table,) in rows("select tablename::text from pg_tables where schemaname = %s order by 1", schema):
        columns = [
            column
            for (column,) in rows(
                "select attname::text from pg_attribute where attrelid = to_regclass(%s) and attnum > 0"
                " and not attisdropped and attname <> 'participant_token' order by attnum",
                f"{schema}.{table}",
            )
        ]
        listed = ", ".join(f'"{column}"' for column in columns)
        found[table] = sorted(rows(f"select {listed} from {schema}.{table}"), key=repr)
    return found


def unbalanced() -> list[tuple[Any, ...]]:
    """Slices of which sent is not accepted + quarantined, in their counts or in their rows."""
    return rows(
        "select s.feed, s.branch_id, s.business_date, s.revision, s.rows_quarantined, count(q.line) from ops.slice s"
        " left join ops.quarantine q on (q.feed, q.branch_id, q.business_date, q.revision)"
        " = (s.feed, s.branch_id, s.business_date, s.revision) and q.closed_as is distinct from 'accepted'"
        " where s.status <> 'rejected' group by s.feed, s.branch_id, s.business_date, s.revision, s.rows_quarantined,"
        " s.rows_sent, s.rows_accepted"
        " having count(q.line) <> s.rows_quarantined or s.rows_sent <> s.rows_accepted + s.rows_quarantined"
    )
