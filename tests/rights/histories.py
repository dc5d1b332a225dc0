"""Random histories of nights with erasures, restrictions and changes of the key between them, and what they come to.

`Installation` is the platform; `Model` keeps, in plain Python, which row is in force and why another is not. The model
knows persons by number: it has no tokens, no keys and no landing, and an erased person is one whose rows are refused
from then on.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from kkbc import nights
from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.marts import runner
from kkbc.marts.runner import invoke
from kkbc.nights import RunRequest
from kkbc.publishing import roll_back
from kkbc.rights import Wanted, erase
from kkbc.rights.persons import persons
from kkbc.rights.restriction import release, restrict
from kkbc.slices import AuditNote, reread
from kkbc.slices.quarantine import Selection, retry
from kkbc.upkeep.keys import destroy_old, rotate, standing
from kkbc.warehouse import connect, server
from tests.conftest import environment
from tests.databases import database
from tests.dbt_project.raw import JAKARTA, World
from tests.deliveries import deliver
from tests.slices.quarantine.scene import Rules

from .scene import contribution, figures, nik, registration, rows

FIRST, START = date(2023, 12, 11), date(2023, 12, 18)
BRANCHES = ("KC001", "KC002")
PEOPLE = 14
NOTE = AuditNote("a test", "a tester")
Place = tuple[str, str, date]
Figures = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Row:
    """A row as a branch sends it. known: its channel is one that the contract knows; others can be retried."""

    person: int
    key: str
    event: datetime
    changed: datetime
    state: str = "BARU"
    known: bool = True

    def as_sent(self, feed: str) -> dict[str, str]:
        """The cells of the row that differ from those of any other."""
        common = {"status_data": self.state, "diubah_pada": f"{self.changed:%Y-%m-%d %H:%M}"}
        if feed == "pendaftaran":
            channel = "PASAR" if self.known else "JMO"
            at = f"{self.event:%Y-%m-%d %H:%M}"
            return registration(self.person, no_pendaftaran=self.key, tgl_pendaftaran=at, kanal=channel, **common)
        paid, start = f"{self.event:%Y-%m-%d %H:%M}", f"{self.event:%Y-%m-%d}"
        return contribution(self.person, id_bayar=self.key, tgl_bayar=paid, periode_mulai=start, **common)


@dataclass
class Revision:
    """A revision of a slice: rows by line, and the code of those that are not loaded. closed: nobody retries them."""

    number: int
    sent_at: datetime
    rows: dict[int, Row]
    refused: dict[int, str] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)


@dataclass
class Model:
    """What was delivered and taken, and who is erased or restricted."""

    slices: dict[Place, list[Revision]] = field(default_factory=dict)
    erased: set[int] = field(default_factory=set)
    restricted: set[int] = field(default_factory=set)

    def judge(self, revision: Revision) -> None:
        """All rows of a revision are judged, as they are by a visit or a re-read."""
        revision.refused = {
            line: "ERASED" if row.person in self.erased else "CODE_UNKNOWN"
            for line, row in revision.rows.items()
            if row.person in self.erased or not row.known
        }
        revision.closed = {line for line, code in revision.refused.items() if code == "ERASED"}

    def erase(self, people: set[int]) -> None:
        """Loaded rows stay; those that were quarantined keep their codes and stay out."""
        self.erased |= people
        for revisions in self.slices.values():
            for revision in revisions:
                revision.closed |= {line for line in revision.refused if revision.rows[line].person in people}

    def retry(self) -> None:
        """Channels are known for once."""
        for revisions in self.slices.values():
            newest = max(revisions, key=lambda r: r.number)
            newest.refused = {line: code for line, code in newest.refused.items() if line in newest.closed}

    def read_again(self, branch: str, since: date, until: date) -> None:
        """Slices in force are judged as if they came today."""
        for (_, of, day), revisions in self.slices.items():
            if of == branch and since <= day <= until:
                self.judge(max(revisions, key=lambda r: r.number))

    def world(self) -> World:
        """What is loaded, for the recomputation."""
        world = World(list(BRANCHES), restricted={f"person {n}" for n in self.restricted})
        # As the migrations have it.
        world.owed_from = dict(rows("select feed, expected_from from ops.feed where expected_from is not null"))
        for (feed, branch, day), revisions in self.slices.items():
            newest = max(revisions, key=lambda r: r.number)
            for revision in revisions:
                refused = len(revision.refused)
                world.slice(
                    *(feed, branch, day),
                    revision=revision.number,
                    status="loaded" if revision is newest else "superseded",
                    sent_at=revision.sent_at,
                    rows_sent=len(revision.rows),
                    rows_accepted=len(revision.rows) - refused,
                    rows_quarantined=refused,
                    rows_nik_valid=len(revision.rows),
                    rows_contactable=len(revision.rows) - refused if feed == "pendaftaran" else None,
                )
            for line, row in newest.rows.items():
                if line in newest.refused:
                    world.quarantined(feed, branch, day, line, [newest.refused[line]], revision=newest.number)
                    continue
                of = {"on": day, "changed": row.changed, "state": row.state, "_line": line}
                if feed == "pendaftaran":
                    of |= {"channel_code": "PASAR" if row.known else "JMO", "district_code": "117101", "sex": "L"}
                    world.registration(branch, row.key, f"person {row.person}", row.event, **of)
                else:
                    start = row.event.date()
                    world.payment(branch, row.key, f"person {row.person}", start, paid=row.event, **of)
        return world


@dataclass
class Installation:
    """A home of its own, the deliveries of its branches, and what each publication showed."""

    root: Path
    rules: Rules
    published: dict[int, Figures] = field(default_factory=dict)
    rotations: int = 0

    def night(self, as_of: date) -> None:
        """Pulls, builds and publishes."""
        run_id = f"night {len(self.published) + 1}"
        request = RunRequest(as_of, self.root, first_business_date=FIRST, gate="warn")
        nights.open_run(request, mode="plain", run_id=run_id)
        for branch in BRANCHES:
            nights.pull_branch(run_id, branch)
        nights.close_pull(run_id)
        build_id = nights.open_build(run_id)
        # Seeds stay as the first night loaded them.
        for layer in ("models",) if self.published else ("seeds", "models"):
            nights.build_layer(build_id, layer)
        done = nights.publish(build_id)
        self.published[done["publication_id"]] = shown()

    def erase(self, people: set[int]) -> None:
        """Erases people by their NIKs."""
        niks = tuple(nik(n) for n in sorted(people))
        assert erase(Wanted(niks, tuple(range(len(niks)))), why="requested", who="a tester").findings == ()
        for table in ("registrations", "contributions"):
            assert rows(f"select count(*) from vault.{table} where nik = any(%s)", list(niks)) == [(0,)]

    def restrict(self, people: set[int]) -> None:
        """Holds people out of the marts."""
        restrict(persons([nik(n) for n in people]), NOTE)

    def release(self, people: set[int]) -> None:
        """Lets people count again."""
        release(persons([nik(n) for n in people]), NOTE)

    def rotate(self, *, destroy: bool) -> None:
        """Changes the key of the tokens, and may destroy those of before: no token of them is left anywhere."""
        assert rotate(why="a test", who="a tester") is not None
        self.rotations += 1
        now = standing()
        assert set(now.rows) <= {now.version, tokens.CUT}
        if destroy:
            destroy_old(why="a test", who="a tester")

    def retry(self) -> None:
        """All that is quarantined is judged by a contract that knows every channel."""
        self.rules.correct()
        try:
            with connect("loader", autocommit=True) as conn:
                assert retry(conn, Selection(), NOTE).failed == {}
        finally:
            forget_channel(self.rules)

    def read_again(self, branch: str, since: date, until: date) -> None:
        """Slices in force are read again from landing."""
        with connect("loader", autocommit=True) as conn:
            assert reread(conn, branch, since, until, NOTE).failed == {}

    def roll_back(self, to: int) -> None:
        """Readers get what they saw then."""
        with connect("publisher") as conn:
            restored = roll_back(conn, to=to, why="a test", who="a tester")
        assert shown() == self.published[to]
        self.published[restored.publication_id] = self.published[to]

    def live(self) -> int:
        """The publication whose tables readers see."""
        found = rows(
            "select coalesce(restores, publication_id) from ops.publication order by publication_id desc limit 1"
        )
        return int(found[0][0])


def shown() -> Figures:
    """Every published row, without tokens, and without which publication it is."""
    found = {f"{schema}.{name}": table for schema in ("bi", "bi_detail") for name, table in figures(schema).items()}
    return {name: table for name, table in found.items() if not name.startswith("bi.publication")}


def forget_channel(rules: Rules) -> None:
    """Makes the contract one that does not know the channel of rows that are not `known`."""
    rules.change("contracts/pendaftaran.odcs.yaml", " JMO,", "")


class History:
    """A history as `chance` has it, played to an installation and to the model alike."""

    def __init__(self, chance: random.Random, real: Installation) -> None:
        self.chance, self.real, self.model = chance, real, Model()
        self.numbers = iter(range(10_000))
        self.waiting: list[tuple[Place, Revision]] = []
        self.as_of = START
        self.told: list[str] = []

    def night(self) -> None:
        """Slices of the day, late ones, revisions and corrections; then a night."""
        late = self.chance.choices(self._days(), k=3)
        # Sorted: the order of a set of dates is another in each process, and so the history of a seed would be.
        for day in sorted({self.as_of, *late}):
            self._deliver(self.chance.choice(BRANCHES), day)
        known = sorted({(branch, day) for _, branch, day in self.model.slices})
        for branch, day in self.chance.sample(known, min(len(known), 2)):
            self._deliver(branch, day)
        self.real.night(self.as_of)
        for place, revision in self.waiting:
            self.model.judge(revision)
            self.model.slices.setdefault(place, []).append(revision)
        self.waiting.clear()
        self.told.append(f"night of {self.as_of}")
        self.as_of += timedelta(days=self.chance.choice([0, 1, 2]))

    def event(self, kind: str) -> None:
        """Something that happens between nights. Only a rollback shows readers something else."""
        before = shown()
        to = self.chance.choice(sorted(self.real.published))
        events: dict[str, Callable[[], None]] = {
            "erase": self._erase,
            "restrict": partial(self._restrict, self._people(3)),
            "release": self._release,
            "rotate": partial(self.real.rotate, destroy=self.chance.random() < 0.5),
            "retry": self._retry,
            "read again": self._read_again,
            "roll back": partial(self._roll_back, to),
        }
        events[kind]()
        self.told.append(kind)
        if kind != "roll back":
            assert shown() == before, self.told

    def _erase(self) -> None:
        people = self._people(2)
        self.real.erase(people)
        self.model.erase(people)

    def _restrict(self, people: set[int]) -> None:
        """Who was erased is refused, and nobody is restricted then."""
        if people & self.model.erased:
            with pytest.raises(UserError, match="was erased"):
                self.real.restrict(people)
            people -= self.model.erased
        self.real.restrict(people)
        self.model.restricted |= people

    def _release(self) -> None:
        """Some who are restricted, and somebody who need not be. Who was erased stays held out: nobody knows them."""
        held = sorted(self.model.restricted)
        people = {*self.chance.sample(held, len(held) // 2 + len(held) % 2), *self._people(1)}
        self.real.release(people)
        self.model.restricted -= people - self.model.erased

    def _retry(self) -> None:
        self.real.retry()
        self.model.retry()

    def _read_again(self) -> None:
        branch, (since, until) = self.chance.choice(BRANCHES), sorted(self.chance.choices(self._days(), k=2))
        self.real.read_again(branch, since, until)
        self.model.read_again(branch, since, until)

    def _roll_back(self, to: int) -> None:
        if self.real.published[to] is not self.real.published[self.real.live()]:
            self.real.roll_back(to)

    def _deliver(self, branch: str, day: date) -> None:
        """Another revision of a branch's day: part of the one before, and new rows."""
        if any(place[1:] == (branch, day) for place, _ in self.waiting):
            return
        number = (
            max(
                (r.number for f in ("pendaftaran", "iuran") for r in self.model.slices.get((f, branch, day), [])),
                default=0,
            )
            + 1
        )
        sent_at = datetime.combine(day + timedelta(days=self.chance.choice([0, 0, 2])), time(19), JAKARTA)
        feeds = {feed: self._rows(feed, branch, day) for feed in ("pendaftaran", "iuran")}
        for feed, of in feeds.items():
            self.waiting.append(((feed, branch, day), Revision(number, sent_at, dict(enumerate(of, start=2)))))
        sent = {feed: [row.as_sent(feed) for row in of] for feed, of in feeds.items()}
        deliver(self.real.root, sent, branch_id=branch, day=day, revision=number, sent_at=sent_at.isoformat())

    def _rows(self, feed: str, branch: str, day: date) -> list[Row]:
        before = self.model.slices.get((feed, branch, day))
        kept = [row for row in (before[-1].rows.values() if before else ()) if self.chance.random() < 0.7]
        new = [self._row(feed, branch, day) for _ in range(self.chance.randint(1, 4))]
        # The contract lets one row of a key through.
        return list({row.key: row for row in kept + new}.values())

    def _row(self, feed: str, branch: str, day: date) -> Row:
        """A new row, or a later word on a key that this branch sent before, of the same person or another."""
        person = self.chance.randrange(PEOPLE)
        event = datetime.combine(day - timedelta(days=self.chance.choice([0, 0, 0, 2])), time(9), JAKARTA)
        changed = datetime.combine(day, time(self.chance.randint(10, 18)), JAKARTA)
        known = feed == "iuran" or self.chance.random() < 0.75
        older = [
            row
            for (f, b, _), of in self.model.slices.items()
            if (f, b) == (feed, branch)
            for row in of[-1].rows.values()
        ]
        if older and self.chance.random() < 0.3:
            old = self.chance.choice(older)
            state = self.chance.choice(["BATAL", "KOREKSI", "KOREKSI"])
            return Row(self.chance.choice([person, old.person]), old.key, event, changed, state, known)
        return Row(person, f"{feed[0].upper()}-{next(self.numbers)}", event, changed, known=known)

    def _people(self, most: int) -> set[int]:
        return set(self.chance.sample(range(PEOPLE), self.chance.randint(1, most)))

    def _days(self) -> list[date]:
        return [FIRST + timedelta(days=n) for n in range((self.as_of - FIRST).days + 1)]


@contextmanager
def installation(pg: server.Server) -> Iterator[Installation]:
    """A new home and warehouse, with rules of its own, and builds without dbt's tests: nothing here is about them."""
    with TemporaryDirectory() as folder, database(pg) as name, pytest.MonkeyPatch.context() as patch:
        place = Path(folder)
        home = place / "home"
        home.mkdir(mode=0o700)
        rules = Rules(place)
        # Not in the place of the rules' own, which a correction would put back.
        (place / "offices.yml").write_text("branches:\n" + "".join(f"  - {{branch_id: {b}}}\n" for b in BRANCHES))
        (place / "branches").mkdir()
        patch.setattr(runner, "invoke", partial(invoke, tests=False))
        with environment(
            KKBC_HOME=str(home),
            KKBC_DATABASE_URL=pg.conninfo(name),
            KKBC_REGISTRY=str(place / "offices.yml"),
            KKBC_CONTRACTS=str(place / "contracts"),
        ):
            load_registry.cache_clear()
            forget_channel(rules)
            tokens.ensure_key(home)
            yield Installation(place / "branches", rules)
    get_settings.cache_clear()
    load_registry.cache_clear()
    load_contract.cache_clear()
