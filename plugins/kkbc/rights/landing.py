"""Landing without some persons: every landed file is looked at, branch by branch, and rewritten where they stand in it.

A branch is locked meanwhile: no visit lands or loads anything of it that an erasure would not see.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar
from zoneinfo import ZoneInfo

import polars as pl
import psycopg

from kkbc.core import tokens
from kkbc.core.errors import NotLanded, SliceRejected, UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import Contract, feeds, load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Slice
from kkbc.intake.erasing import Taken, erase_from
from kkbc.intake.landing import Landing
from kkbc.intake.reading import read
from kkbc.intake.rewriting import Persons, holds_any, values_of, values_of_others
from kkbc.intake.validation import Context
from kkbc.slices import SliceRecord, branch_locked
from kkbc.slices.rewritten import record_rewrite

_FOLDER = re.compile(
    r"/(?P<branch>[^/]+)/(?P<day>\d{4}-\d{2}-\d{2})/(?P<feed>[^/]+)/r(?P<revision>\d+)-(?P<sha>[0-9a-f]{12})$"
)

Found = TypeVar("Found")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Folder:
    """A folder of landing, with the record of its slice where it is the one that the record names."""

    uri: str
    branch_id: str
    record: SliceRecord | None

    @property
    def contract(self) -> Contract | None:
        """The contract of its feed; None when there is none any more."""
        feed = None if self.record is None else self.record.slice.feed
        return load_contract(feed) if feed in feeds() else None


class LandedFiles:
    """What is in landing. `conn` acts as the owner, in autocommit mode."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self._conn = conn
        self._landing = Landing(get_settings().landing)
        self._key = tokens.load_key()
        self._branch_ids = frozenset(office.branch_id for office in load_registry().offices)
        self.by_branch: dict[str, list[str]] = {}
        for uri in self._landing.uris():
            found = _FOLDER.search(uri)
            if found is not None:
                self.by_branch.setdefault(found["branch"], []).append(uri)

    def values(self, niks: frozenset[str], progress: Progress) -> dict[str, set[str]]:
        """What landed rows with one of these NIKs say of the persons, by column: also rows that were never loaded."""
        values: dict[str, set[str]] = {}
        for found in self._in_files(Persons(niks), progress, lambda rows, of: values_of(rows, of, niks)):
            for name, texts in found.items():
                values.setdefault(name, set()).update(texts)
        return values

    def values_of_others(self, niks: frozenset[str], values: frozenset[str], progress: Progress) -> set[str]:
        """Those of the values that stand in landed rows of others, be they accepted, quarantined or held."""
        if not values:
            return set()
        persons = Persons(frozenset(), values)
        found = self._in_files(persons, progress, lambda rows, of: values_of_others(rows, of, niks, values))
        return {value for texts in found for value in texts}

    def holding(self, persons: Persons, progress: Progress) -> int:
        """In how many landed files something of the persons stands."""
        return sum(1 for _ in self._holding(self._uris(progress), persons))

    def erase(self, branch_id: str, persons: Persons, erasure_id: int) -> Counter[str]:
        """Takes the persons out of all landed files of a branch, and puts that on record; returns what was done."""
        done: Counter[str] = Counter()
        with branch_locked(branch_id, f"erasure in {branch_id}"):
            # Listed again under the lock: a visit may have landed more meanwhile.
            pattern = f"{self._landing.path}/{branch_id}/*/*/r*-*"
            uris = [self._landing.fs.unstrip_protocol(path) for path in sorted(self._landing.fs.glob(pattern))]
            begun = [uri for uri in uris if self._landing.journal(uri).entries]
            done["files"] = len(uris)
            for uri in {*begun, *self._holding(uris, persons)}:
                folder = self._folder(uri)
                if folder is not None:
                    done += self._erase_in(folder, persons, erasure_id)
        return done

    def _erase_in(self, folder: Folder, persons: Persons, erasure_id: int) -> Counter[str]:
        record = folder.record
        recorded = None if record is None else record.landed_sha256
        try:
            rewritten = erase_from(self._landing, folder.uri, None, persons, self._taken(folder), recorded)
        except NotLanded:  # of a visit that was killed before its file was there
            return Counter()
        if rewritten is None:
            return Counter()
        with self._conn.transaction():
            record_rewrite(self._conn, rewritten, erasure_id)
        return Counter({"rewritten": 1, "rows": len(rewritten.lines), "emptied": int(rewritten.emptied)})

    def _in_files(
        self, persons: Persons, progress: Progress, look: Callable[[Iterable[pl.DataFrame], Contract], Found]
    ) -> Iterator[Found]:
        """What is found in the rows of each landed file in which something of the persons stands, of feeds with a NIK.

        One that was rejected has no rows, and is emptied.
        """
        for uri in self._holding(self._uris(progress), persons):
            folder = self._folder(uri)
            contract = None if folder is None else folder.contract
            if folder is None or contract is None or contract.nik is None or folder.record is None:
                continue
            with self._landing.open(folder.uri) as landed, suppress(SliceRejected):
                reading = read(landed.readable, landed.name, contract, expected_rows=folder.record.manifest_rows)
                yield look(reading.batches, contract)

    def _uris(self, progress: Progress) -> Iterator[str]:
        uris = [uri for uris in self.by_branch.values() for uri in uris]
        for number, uri in enumerate(uris):
            progress(number, len(uris))
            yield uri
        progress(len(uris), len(uris))

    def _holding(self, uris: Iterable[str], persons: Persons) -> Iterator[str]:
        """Those of the folders in whose landed file something of the persons stands."""
        for uri in uris:
            holds = False
            with suppress(NotLanded), self._landing.open(uri) as landed:  # of a visit that was killed before it
                holds = holds_any(landed.readable, landed.name, persons)
            if holds:
                yield uri

    def _folder(self, uri: str) -> Folder | None:
        """What is known of a folder: its record is found by its name, wherever landing lay when it was written."""
        found = _FOLDER.search(uri)
        if found is None:
            return None
        row = self._conn.execute(
            "select feed, branch_id, business_date, revision from ops.slice where feed = %s and branch_id = %s"
            " and business_date = %s::date and revision = %s and sha256 like %s",
            [found["feed"], found["branch"], found["day"], int(found["revision"]), f"{found['sha']}%"],
        ).fetchone()
        record = None if row is None else SliceRecord.load(self._conn, Slice(*row))
        return Folder(uri, found["branch"], record)

    def _taken(self, folder: Folder) -> Taken | None:
        """How the slice was taken in; None for one that was rejected, or that no record knows."""
        record, contract = folder.record, folder.contract
        if record is None or contract is None or record.status in (None, "rejected"):
            return None
        try:
            zone = load_registry().get(folder.branch_id).zone
        except UserError:  # a branch that is no more
            zone = ZoneInfo("Asia/Jakarta")
        context = Context(record.slice, zone, record.sent_at, self._branch_ids, record.manifest_seen_at)
        return Taken(contract, context, self._key, record.manifest_rows)
