"""Random histories of deliveries: slices in any order, late, revised, rejected, voided, retried, loaded by nights."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl
import psycopg

from kkbc.exchange.contracts import Contract, load_contract
from kkbc.exchange.slices import Slice
from kkbc.intake.rows import Counts, SliceRows
from kkbc.slices import SliceRecord, load, reject
from kkbc.slices.rows import copy_rows
from tests.dbt_project.raw import JAKARTA, TABLES, Row, World, days

BRANCHES = ["KC001", "KC002", "KC030"]
CHANNELS = ["KANTOR", "PASAR", "RADIO"]
OCCUPATIONS = ["NELAYAN", "DUKUN"]
REGISTERED = "insert into ops.branch (branch_id, kind, timezone, tier) values (%s, 'file', 'Asia/Jakarta', 2)"
KEYS = {"pendaftaran": "registration_no", "iuran": "payment_id", "kegiatan": "activity_code"}
POLARS = {"date": pl.Date, "month": pl.Date, "timestamp": pl.Datetime("us", "UTC"), "int": pl.Int64, "idr": pl.Int64}
CODES = (["NIK_DATE"], ["NEGATIVE"], ["NEGATIVE", "NIK_DATE"])
RUN = "history"


@dataclass
class History:
    """Deliveries of a few branches over some months, as `chance` has it. `rows` are those in force, by slice."""

    chance: random.Random
    first: date
    last: date
    revisions: dict[tuple[str, str, date], int] = field(default_factory=dict)
    rows: dict[tuple[str, str, date], list[Row]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))

    def open(self, conn: psycopg.Connection) -> None:
        """The registry, and the run that everything is loaded by."""
        conn.execute("insert into ops.run (run_id, as_of, mode) values (%s, %s, 'plain')", [RUN, self.last])
        for branch in BRANCHES:
            conn.execute(REGISTERED, [branch])
        conn.execute("update ops.feed set expected_from = null")
        conn.commit()

    def night(self, conn: psycopg.Connection, as_of: date) -> None:
        """What comes in one night, of any age, and now and then of days to come."""
        known = sorted(place for place in self.revisions if place[0] != "target")
        for _ in range(self.chance.randint(4, 14)):
            branch = self.chance.choice(BRANCHES)
            on = self.chance.choice(days(self.first - timedelta(days=20), as_of + timedelta(days=3)))
            feed = self.chance.choice(["pendaftaran", "pendaftaran", "iuran", "iuran", "iuran", "kegiatan"])
            if (feed, branch, on) not in self.revisions:
                self._deliver(conn, feed, branch, on, 1)
        for place in self.chance.sample(known, min(len(known), self.chance.randint(1, 5))):
            fate = self.chance.choice(["revised", "revised", "revised", "rejected", "skipped", "retried"])
            if fate == "retried":
                self._retry(conn, *place)
            elif fate == "rejected":
                self.revisions[place] += 1
                reject(conn, self._record(*place, self.revisions[place]), "CHECKSUM", "")
            elif fate == "skipped":
                # The higher revision comes first, the lower one is superseded as it comes.
                self._deliver(conn, *place, self.revisions[place] + 2)
                self._deliver(conn, *place, self.revisions[place] - 1)
            else:
                self._deliver(conn, *place, self.revisions[place] + 1)
        if self.chance.random() < 0.4:
            month = self.chance.choice(days(self.first, self.last)).replace(day=1)
            place = ("target", "HQ", self.chance.choice(days(self.first, as_of)))
            scratch = World([])
            for branch in self.chance.sample(BRANCHES, 2):
                scratch.target(branch, f"{month:%Y-%m}", self.chance.choice([0, 3, 5]), 4, 1_000_000)
            self._load(conn, *place, self.revisions.get(place, 0) + 1, scratch.rows["target"])
        if self.chance.random() < 0.3:
            conn.execute(
                "update ops.branch set active_from = %s where branch_id = %s",
                [self.chance.choice([None, *days(self.first, self.last)]), self.chance.choice(BRANCHES)],
            )
        if self.chance.random() < 0.2:
            branch = self.chance.choice(BRANCHES)
            if not conn.execute("delete from ops.branch where branch_id = %s", [branch]).rowcount:
                conn.execute(REGISTERED, [branch])
        if self.chance.random() < 0.2:
            conn.execute(
                "update ops.feed set expected_from = %s where feed = %s",
                [self.chance.choice([None, *days(self.first, self.last)]), self.chance.choice(sorted(KEYS))],
            )
        self._restrict(conn)
        conn.commit()

    def _restrict(self, conn: psycopg.Connection) -> None:
        """Holds participants out of the marts, known ones mostly, and releases some who are."""
        for token in self.chance.sample([f"token {n}" for n in range(1, 61)], self.chance.choice([0, 0, 2, 5])):
            conn.execute(
                "insert into vault.restricted (participant_token, restricted_by, why) values (%s, 'history', 'asked')"
                " on conflict do nothing",
                [token],
            )
        conn.execute(
            "update vault.restricted set released_at = now(), released_by = 'history', release_why = 'asked'"
            " where released_at is null and (restriction_id + %s) %% 3 = 0",
            [self.chance.randint(0, 8)],
        )

    def _deliver(self, conn: psycopg.Connection, feed: str, branch: str, on: date, revision: int) -> None:
        """A revision: part of what the one before held, some of it changed, and new rows, about known keys too."""
        kept = [row for row in self.rows.get((feed, branch, on), []) if self.chance.random() < 0.6]
        made = [self._row(feed, branch, on) for _ in range(self.chance.randint(0, 4))]
        self._load(conn, feed, branch, on, revision, kept + made)

    def _row(self, feed: str, branch: str, on: date) -> Row:
        """A new row, or a correction or void of a key that this branch sent at any time."""
        scratch = World([])
        # Some have much to do with one another, others are seldom seen again.
        token = f"token {self.chance.choice([self.chance.randint(1, 8), self.chance.randint(9, 60)])}"
        moment = datetime.combine(on - timedelta(days=self.chance.choice([0, 0, 0, 2, 40])), time(9), JAKARTA)
        older = [row for (f, b, _), rows in self.rows.items() if (f, b) == (feed, branch) for row in rows]
        given: Row = {"state": "BARU", "changed": datetime.combine(on, time(self.chance.randint(9, 12)), JAKARTA)}
        key = f"{self.chance.choice('aB')}{next(self.numbers)}"
        if older and self.chance.random() < 0.4:
            old = self.chance.choice(older)
            key = old[KEYS[feed]]
            given["state"] = self.chance.choice(["BATAL", "BATAL", "KOREKSI", "BARU"])
            token = self.chance.choice([token, old.get("participant_token", token)])
        if feed == "pendaftaran":
            choices = {"channel_code": CHANNELS, "occupation_code": OCCUPATIONS, "activity_code": [None, "K1", "K2"]}
            scratch.registration(
                branch, key, token, moment, **given, **{name: self.chance.choice(of) for name, of in choices.items()}
            )
        elif feed == "iuran":
            start = self.chance.choice(days(self.first - timedelta(days=60), on + timedelta(days=20)))
            scratch.payment(branch, key, token, start, self.chance.choice([1, 1, 2, 3, 12]), paid=moment, **given)
        else:
            key = self.chance.choice(["K1", "K2", "K3"])
            kind = self.chance.choice(["PASAR", "RADIO"])
            scratch.activity(branch, key, f"{on}", contacts=self.chance.choice([0, 9]), activity_type=kind, **given)
        return scratch.rows[feed][0]

    def _load(self, conn: psycopg.Connection, feed: str, branch: str, on: date, revision: int, rows: list[Row]) -> None:
        # The contract lets one row of a key through (Exchange rule 3).
        key = KEYS.get(feed)
        rows = list({row[key]: row for row in rows}.values()) if key else rows
        frame = _frame(load_contract(feed), rows)
        nik = len(rows) if feed in ("pendaftaran", "iuran") else None
        found = [self.chance.choice(CODES) for _ in range(self.chance.choice([0, 0, 1, 3]))]
        counts = Counts(len(rows), len(found), 0, nik, len(rows) if feed == "pendaftaran" else None)
        quarantined = pl.DataFrame(
            [{"_line": 500 + n, "_errors": codes, "_warnings": [], "_fields": []} for n, codes in enumerate(found)],
            schema={"_line": pl.Int64, **dict.fromkeys(("_errors", "_warnings", "_fields"), pl.List(pl.String))},
        )
        record = self._record(feed, branch, on, revision)
        outcome = load(conn, load_contract(feed), record, SliceRows([frame], [quarantined], counts))
        place = (feed, branch, on)
        if outcome == "loaded":
            self.rows[place] = rows
        self.revisions[place] = max(revision, self.revisions.get(place, 0))

    def _retry(self, conn: psycopg.Connection, feed: str, branch: str, on: date) -> None:
        """A row of an old slice that was quarantined is accepted, and beats the one that held its key."""
        if (feed, branch, on) not in self.rows:
            return
        row = self._row(feed, branch, on)
        contract, held = load_contract(feed), self.rows[feed, branch, on]
        found = conn.execute(
            "select revision from ops.slice where feed = %s and branch_id = %s and business_date = %s"
            " and status = 'loaded'",
            [feed, branch, on],
        ).fetchone()
        assert found is not None
        name = KEYS[feed]
        conn.execute(
            f"delete from raw.{contract.table} where _branch_id = %s and _business_date = %s and {name} = %s",  # type: ignore[arg-type]
            [branch, on, row[name]],
        )
        frame = _frame(contract, [row]).with_columns(pl.lit(900 + next(self.numbers)).alias("_line"))
        copy_rows(conn, contract, self._record(feed, branch, on, found[0]), [frame], 1)
        conn.execute(
            "update ops.quarantine set closed_at = now(), closed_as = 'accepted', closed_why = 'retried'"
            " where (feed, branch_id, business_date, revision) = (%s, %s, %s, %s) and line = 500 and closed_at is null",
            [feed, branch, on, found[0]],
        )
        conn.execute(
            "update ops.slice set build_id = null"
            " where feed = %s and branch_id = %s and business_date = %s and status = 'loaded'",
            [feed, branch, on],
        )
        self.rows[feed, branch, on] = [other for other in held if other[name] != row[name]] + [row]

    def _record(self, feed: str, branch: str, on: date, revision: int) -> SliceRecord:
        late = self.chance.choice([18, 18, 18, 40])
        sent_at = datetime.combine(on, time(0), JAKARTA) + timedelta(hours=late)
        return SliceRecord(Slice(feed, branch, on, revision), RUN, "0" * 64, 0, sent_at)


def loaded_world(conn: psycopg.Connection) -> World:
    """What is loaded, for the recomputation to read."""
    world = World([])
    for feed, table in TABLES.items():
        world.rows[feed] = _rows(conn, f"select * from raw.{table}")
    world.slices = _rows(conn, "select * from ops.slice")
    for row in _rows(conn, "select * from ops.branch order by branch_id"):
        world.branches.append(row["branch_id"])
        world.inactive[row["branch_id"]] = (row["active_from"], row["active_to"])
    # What the registry has dropped and delivered once still counts, and nothing is expected of it.
    for branch in sorted({row["branch_id"] for row in world.slices if row["feed"] in KEYS} - set(world.branches)):
        world.branches.append(branch)
        world.inactive[branch] = (date.max, None)
    world.quarantine = _rows(conn, "select * from ops.quarantine")
    world.restricted = {row["participant_token"] for row in _rows(conn, "select * from ops.restricted_participant")}
    for row in _rows(conn, "select feed, expected_from from ops.feed where expected_from is not null"):
        world.owed_from[row["feed"]] = row["expected_from"]
    return world


def _rows(conn: psycopg.Connection, statement: str) -> list[Row]:
    cursor = conn.execute(statement)  # type: ignore[arg-type]
    names = [column.name for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _frame(contract: Contract, rows: list[Row]) -> pl.DataFrame:
    """The rows as validation would hand them over, with made-up persons."""
    person: Row = {"nik": "0" * 16, "full_name": "N", "birth_place": "B", "birth_date": date(1990, 5, 1)}
    person |= {"activity_name": "A", "declared_income": 1_000_000}
    schema: dict[str, Any] = {"_line": pl.Int64, "_warnings": pl.List(pl.String)}
    schema |= {column.name: POLARS.get(column.type, pl.String) for column in contract.columns}
    if contract.has_nik:
        schema["participant_token"] = pl.String
    full = [{**person, **row, "_line": line, "_warnings": []} for line, row in enumerate(rows, start=2)]
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in full], schema=schema)
