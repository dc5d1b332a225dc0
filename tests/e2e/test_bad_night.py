"""A bad night: each trouble is treated as its own, the rest is published, the message says so, the next night heals.

All branches deliver small files by hand, so that every figure below can be counted on paper: a registration, a
payment and an activity a branch and day.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, LiteralString

import pytest

from kkbc.core.errors import GateFailed
from kkbc.exchange.registry import load_registry
from kkbc.marts import runner
from kkbc.nights import RunRequest, plain
from kkbc.warehouse import connect, server
from tests.databases import database
from tests.dbt_project.conftest import current
from tests.deliveries import deliver

pytestmark = pytest.mark.e2e

GOOD, BAD, NEXT = date(2023, 12, 10), date(2023, 12, 11), date(2023, 12, 12)
DOWN = [f"KC{n:03d}" for n in range(10, 19)]
LATE = ["KC020", "KC021"]
TENFOLD, BROKEN_NIK, CHECKSUM = "KC030", "KC040", "KC050"
PAYMENT = 16_800
OFFICES = len(load_registry().offices)
# What BI shows of a day on which every branch reports its one registration, acquisition and payment.
EVERYWHERE = (OFFICES, OFFICES, OFFICES, OFFICES * PAYMENT)
FAULT = re.compile(r"[^\n]+ as registrations(?=,)")


def nik(person: int) -> str:
    """An invented NIK that earns no code: days, months and years of birth vary, the serial says that it is made up."""
    return f"117101{person % 28 + 1:02d}{person // 28 % 12 + 1:02d}{80 + person // 336:02d}9001"


def born(person: int) -> str:
    return f"19{80 + person // 336}-{person // 28 % 12 + 1:02d}-{person % 28 + 1:02d}"


def registrations(day: date, persons: range, **changes: str) -> list[dict[str, str]]:
    return [
        {
            "no_pendaftaran": f"R-{day:%m%d}-{person}",
            "nik": nik(person),
            "tgl_lahir": born(person),
            "tgl_pendaftaran": f"{day} 09:00",
            "diubah_pada": f"{day} 09:05",
        }
        | changes
        for person in persons
    ]


def send(root: Path, branch_id: str, day: date, persons: range, *, revision: int = 1, **changes: Any) -> Path:
    """A delivery of one branch: a registration for each of `persons`, a payment of the first, an activity."""
    manifest = {"sent_at": changes.pop("sent_at", f"{day}T19:02:11+07:00")}
    paid = {"id_bayar": f"P-{day:%m%d}", "tgl_bayar": f"{day} 10:00", "periode_mulai": f"{day}", "nik": nik(persons[0])}
    held = {"kode_kegiatan": f"A-{day:%m%d}", "mulai": f"{day} 08:00", "selesai": f"{day} 11:00"}
    feeds = {
        "pendaftaran": registrations(day, persons, **changes),
        "iuran": [paid | {"diubah_pada": f"{day} 10:00"}],
        "kegiatan": [held | {"diubah_pada": f"{day} 11:30"}],
    }
    return deliver(root, feeds, branch_id=branch_id, day=day, revision=revision, **manifest)


def person(branch_id: str, day: date) -> range:
    """The one person that a branch registers on a day: another for each branch and day."""
    return range(start := int(branch_id[2:]) + 130 * (day - GOOD).days, start + 1)


@pytest.fixture(scope="module")
def branches(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home after a good night, the current one; yields the folder of the branches' deliveries.

    The branch that will send tenfold is used to 60 registrations on that weekday.
    """
    home, root = tmp_path_factory.mktemp("bad"), tmp_path_factory.mktemp("branches")
    keys = home / "keys"
    keys.mkdir(mode=0o700)
    (keys / "connections.json").write_text(
        json.dumps({"down": {"conn_type": "http", "host": "http://127.0.0.1:1", "password": "x"}})
    )
    (keys / "connections.json").chmod(0o600)
    with database(pg) as name, current({"KKBC_HOME": str(home), "KKBC_DATABASE_URL": pg.conninfo(name)}):
        for week in range(1, 5):
            send(root, TENFOLD, BAD - timedelta(weeks=week), range(400, 460))
        for branch in load_registry().offices:
            send(root, branch.branch_id, GOOD, person(branch.branch_id, GOOD))
        run(root, GOOD)
        yield root


# KPI rule 3 in the mart, as of the build, and in the view, as of now: here the same on each day of the marts.
MART_AND_VIEW_DIFFER: LiteralString = """
select branch_id, feed, business_date, q.status, s.status
from bi.kpi_data_quality_daily q
full join (
    select s.* from ops.slice_standing s join ops.feed f using (feed) cross join ops.night_span n
    where f.sender = 'branch' and s.business_date between n.first_business_date and n.latest_business_date
) s using (branch_id, feed, business_date)
where (q.status, q.revision, q.rows_sent, q.rows_accepted, q.rows_quarantined)
    is distinct from (s.status, s.revision, s.rows_sent, s.rows_accepted, s.rows_quarantined)
"""


def run(root: Path, day: date, *, down: Iterable[str] = ()) -> dict[str, Any]:
    """One night over all that lies there."""
    ways = dict.fromkeys(down, "http:down")
    request = RunRequest(day, root, ways, first_business_date=GOOD, gate="fail")
    return plain.run_night(request, lambda *_: None)


def rows(query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    with connect("auditor") as conn:
        return conn.execute(query, values).fetchall()


def nationwide(day: date) -> tuple[Any, ...]:
    """What BI shows of a day: branches_reported, registrations, acquisitions, contributions_idr."""
    (found,) = rows(
        "select branches_reported, registrations, acquisitions, contributions_idr from bi.kpi_national_daily"
        " where business_date = %s",
        day,
    )
    return found


def standing() -> dict[str, tuple[date, int]]:
    """Last good day and slices held, of the branches that are not up to the newest day, or that have slices held."""
    return {
        branch_id: (last_good, held)
        for branch_id, last_good, held in rows(
            "select branch_id, last_good_date, slices_held from bi.branch_standing"
            " where slices_held > 0 or last_good_date < (select as_of from bi.publication)"
        )
    }


def latest_message() -> str:
    """The message of the newest night, as it was sent."""
    ((subject, body),) = rows(
        "select subject, body from ops.notification where kind = 'night' order by business_date desc limit 1"
    )
    return f"{subject}\n{body}"


def everything_in_bi() -> dict[str, str]:
    """A hash of each table that BI reads."""
    names = [name for (name,) in rows("select table_name from information_schema.tables where table_schema = 'bi'")]
    found = {}
    for name in sorted(names):
        query = f"select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from bi.{name} t"
        found[name] = rows(query)[0][0]  # type: ignore[arg-type]
    return found


def test_the_good_night_has_no_troubles(branches: Path) -> None:
    assert nationwide(GOOD) == EVERYWHERE
    assert standing() == {}


def test_a_bad_night_publishes_the_rest_and_says_so(branches: Path) -> None:
    for branch in load_registry().offices:
        name = branch.branch_id
        sent_at = f"{NEXT}T01:00:00+07:00" if name in LATE else f"{BAD}T19:02:11+07:00"
        if name == TENFOLD:
            send(branches, name, BAD, range(person(name, BAD)[0], person(name, BAD)[0] + 600))
        elif name == BROKEN_NIK:
            send(branches, name, BAD, range(500, 530), nik="31")
        else:
            send(branches, name, BAD, person(name, BAD), sent_at=sent_at)
    damaged = branches / CHECKSUM / BAD.isoformat() / "pendaftaran.csv"
    damaged.write_bytes(damaged.read_bytes().replace(b"Orang Contoh", b"Orang Contoj"))

    outcome = run(branches, BAD, down=DOWN)

    assert set(outcome["failed"]) == set(DOWN)
    assert outcome["publication_id"] is not None
    # Of all branches 9 were down and 2 are held; the one of the checksum lacks its registrations.
    assert nationwide(BAD) == (OFFICES - 11, OFFICES - 12, OFFICES - 11, (OFFICES - 11) * PAYMENT)
    assert nationwide(GOOD) == EVERYWHERE
    assert standing() == {
        **dict.fromkeys(DOWN, (GOOD, 0)),
        TENFOLD: (GOOD, 3),
        BROKEN_NIK: (GOOD, 3),
        CHECKSUM: (GOOD, 0),
    }
    status = dict(
        rows(
            "select branch_id, string_agg(distinct status, ' ' order by status) from bi.kpi_data_quality_daily"
            " where business_date = %s group by 1",
            BAD,
        )
    )
    assert {name: status[name] for name in [*DOWN, *LATE, CHECKSUM]} == {
        **dict.fromkeys(DOWN, "missing"),
        **dict.fromkeys(LATE, "late"),
        CHECKSUM: "on_time rejected",
    }
    assert set(status.values()) == {"missing", "late", "on_time rejected", "on_time"}
    assert rows(MART_AND_VIEW_DIFFER) == []
    message = latest_message()
    assert "KKBC 11-12-2023: terbit (9 kantor belum kirim, 6 slice ditahan, 1 slice ditolak)" in message
    for name in [*DOWN, *LATE, TENFOLD, BROKEN_NIK, CHECKSUM]:
        assert name in message
    assert "CHECKSUM" in message


def test_a_broken_model_publishes_nothing(branches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything_in_bi()
    project = tmp_path / "dbt_project"
    shutil.copytree(runner.DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    model = project / "models" / "marts" / "kpi_national_daily" / "kpi_national_daily.sql"
    fault = "cast(sum(registrations) + 1 as bigint) as registrations"
    text = model.read_text()
    assert "as registrations," in text
    model.write_text(FAULT.sub(fault, text))
    assert fault in model.read_text()
    with monkeypatch.context() as broken:
        broken.setattr(runner, "DBT_PROJECT", project)
        with pytest.raises(
            GateFailed, match=f"registrations/2023-12-10: observed national {OFFICES + 1}, branches {OFFICES}"
        ):
            run(branches, BAD)
    assert everything_in_bi() == before


def test_the_next_night_heals(branches: Path) -> None:
    for branch in load_registry().offices:
        send(branches, branch.branch_id, NEXT, person(branch.branch_id, NEXT))
    # The fixed file has the name of the damaged one; the two that are held send a revision.
    send(branches, CHECKSUM, BAD, person(CHECKSUM, BAD))
    for name in (TENFOLD, BROKEN_NIK):
        send(branches, name, BAD, person(name, BAD), revision=2)

    outcome = run(branches, NEXT)

    assert outcome["failed"] == {}
    assert [nationwide(day) for day in (GOOD, BAD, NEXT)] == [EVERYWHERE] * 3
    assert standing() == {}
    assert "KKBC 12-12-2023: terbit\n" in latest_message()
