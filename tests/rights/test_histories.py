"""Random histories with erasures between visits come to what they would be, had the erased rows been quarantined."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kkbc.core import tokens
from kkbc.core.settings import get_settings
from kkbc.core.suppression import Suppression
from kkbc.exchange.registry import load_registry
from kkbc.nights.visit import pull
from kkbc.rights import Wanted, erase
from kkbc.slices import AuditNote, reread
from kkbc.warehouse import connect, server
from tests.conftest import environment
from tests.databases import database
from tests.deliveries import deliver

from .scene import contribution, nik, registration, unbalanced

DAYS = (date(2023, 12, 11), date(2023, 12, 12))
PEOPLE = 6
UNTIL = date(2023, 12, 31)

persons = st.lists(st.integers(0, PEOPLE - 1), min_size=0, max_size=8)
deliveries = st.tuples(st.just("deliver"), st.sampled_from(DAYS), persons)
erasures = st.tuples(st.just("erase"), st.sets(st.integers(0, PEOPLE - 1), min_size=1, max_size=2))
histories = st.lists(st.one_of(deliveries, deliveries, erasures), min_size=2, max_size=6).filter(
    lambda events: events[0][0] == "deliver" and any(event[0] == "erase" for event in events)
)


class Branch:
    """KC001 of a home of its own, its deliveries and what was loaded of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.revisions = dict.fromkeys(DAYS, 0)
        with connect("loader") as conn:
            conn.execute("insert into ops.run (run_id, as_of, mode) values ('r', '2023-12-31', 'plain')")

    def deliver(self, day: date, people: list[int]) -> None:
        """Another revision of a day, which is pulled: persons may come twice, in one slice or on both days."""
        self.revisions[day] += 1
        moved = {"tgl_pendaftaran": f"{day} 09:00", "diubah_pada": f"{day} 09:30"}
        paid = {"tgl_bayar": f"{day} 10:00", "periode_mulai": str(day), "diubah_pada": f"{day} 10:00"}
        bad = {"kanal": "TIDAK ADA"}
        feeds = {
            "pendaftaran": [registration(n, **moved, **(bad if at % 5 == 4 else {})) for at, n in enumerate(people)],
            "iuran": [contribution(n, **paid) for n in people[:3]],
        }
        deliver(self.root, feeds, day=day, revision=self.revisions[day])
        with connect("loader", autocommit=True) as conn:
            pull(conn, load_registry().get("KC001"), run_id="r", until=UNTIL, root=self.root)

    def erase(self, people: set[int]) -> None:
        """Erases people; no row of raw is lost by that, and none but theirs changes."""
        before = raw(theirs := [nik(n) for n in people])
        done = erase(Wanted(tuple(theirs), tuple(range(len(theirs)))), why="requested", who="a tester")
        assert done.findings == ()
        assert raw(theirs) == before

    def read_again(self) -> None:
        with connect("loader", autocommit=True) as conn:
            report = reread(conn, "KC001", *DAYS, AuditNote("by the list of today", "a tester"))
        assert report.failed == {}


def raw(niks: list[str]) -> list[Any]:
    """Rows of raw, those of some persons without the token, which an erasure changes."""
    found = []
    with connect() as conn:
        cut = Wanted(tuple(niks), tuple(range(len(niks)))).participant_tokens(conn)
        for table, key in (("registrations", "registration_no"), ("contributions", "payment_id")):
            query = (
                f"select _business_date, _line, {key}, case when participant_token = any(%s)"
                f" or participant_token like '00%%' then '' else participant_token end from raw.{table} order by 1, 2"
            )
            found.append(conn.execute(query, [cut]).fetchall())  # type: ignore[arg-type]
    return found


def in_force() -> dict[str, list[Any]]:
    """What the slices in force are."""
    with connect() as conn:
        slices = conn.execute(
            "select feed, business_date, revision, rows_sent, rows_accepted, rows_quarantined, warnings,"
            " rows_contactable from ops.slice where status = 'loaded' order by 1, 2"
        ).fetchall()
        quarantined = conn.execute(
            "select q.feed, q.business_date, q.line, q.errors, q.closed_as from ops.quarantine q"
            " join ops.slice s using (feed, branch_id, business_date, revision)"
            " where s.status = 'loaded' and q.closed_as is distinct from 'accepted' order by 1, 2, 3"
        ).fetchall()
        vault = conn.execute("select _business_date, _line, nik, full_name from vault.registrations order by 1, 2")
        return {"slices": slices, "quarantined": quarantined, "vault": vault.fetchall(), "raw": raw([])}


@contextmanager
def branch(pg: server.Server) -> Iterator[Branch]:
    """A new home and warehouse, with the same keys as all others."""
    with TemporaryDirectory() as folder, database(pg) as name:
        home = Path(folder, "home")
        home.mkdir(mode=0o700)
        with environment(KKBC_HOME=str(home), KKBC_DATABASE_URL=pg.conninfo(name)):
            # Another key each: a token on the list is none of the marts.
            for file, key in ((tokens.KEY_FILE, "ab"), (tokens.MARKS_FILE, "cd"), (tokens.SUPPRESSION_FILE, "ef")):
                tokens.make_secret(home / "keys" / file, key * 32)
            yield Branch(Path(folder, "branches"))
    get_settings.cache_clear()


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(history=histories)
def test_a_history_with_erasures_is_one_in_which_their_rows_were_refused(
    pg: server.Server, history: list[tuple[Any, ...]]
) -> None:
    erased = set().union(*(event[1] for event in history if event[0] == "erase"))
    with branch(pg) as real:
        for event, *arguments in history:
            getattr(real, event)(*arguments)
            assert unbalanced() == []
        real.read_again()
        assert unbalanced() == []
        found = in_force()
    with branch(pg) as model:
        of_the_list = Suppression(tokens.load_suppression_keys())
        with connect() as conn:
            conn.execute(
                "insert into vault.suppressed (token, erasure_id) select token, 1 from unnest(%s::text[]) as token",
                [[of_the_list.token_of(nik(n)) for n in erased]],
            )
        for event, *arguments in history:
            if event == "deliver":
                model.deliver(*arguments)
        assert found == in_force()
