"""Erasing: persons leave everything that the platform stores; what was counted of them stays counted.

An erasure is a row of ops.erasure, and its steps are rows of ops.erasure_step. Each can be killed at any moment: asked
for again, the erasure goes on with the first step that is not finished, and a step that is done twice changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from kkbc.core import tokens
from kkbc.core.needles import SHORTEST, Needles, same_text
from kkbc.core.settings import get_settings
from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.intake.rewriting import Persons
from kkbc.marts.spark import place
from kkbc.publishing.cutting import cut_tokens, rows_of
from kkbc.publishing.record import alone
from kkbc.publishing.work import Work
from kkbc.rights import requests
from kkbc.rights.cleaning import rewrite_tables, sweep_files, touched_partitions
from kkbc.rights.landing import LandedFiles
from kkbc.rights.proof import write_proof
from kkbc.rights.requests import Request, Saved
from kkbc.rights.searching import found_in_query
from kkbc.rights.verifying import search_all
from kkbc.rights.wanted import Wanted, unknown_lines
from kkbc.slices import AuditNote
from kkbc.slices.erasing import ERASED_TOKENS, counts, erase_lines, erase_rows, known, note_tokens, slices_landed_in
from kkbc.slices.suppressing import already_suppressed, suppress
from kkbc.warehouse import connect, locks
from kkbc.warehouse.access_record import note_access
from kkbc.warehouse.kept import check_key, suppression_keys
from kkbc.warehouse.locks import Lock

Progress = Callable[[str, int, int], None]
STEPS = ("noted", "suppressed", "found", "landing", "warehouse", "files", "database", "verified")
_NAMES = ("full_name", "kpj")


@dataclass(frozen=True)
class Erased:
    """What became of a request. already: it was done before. unknown: lines of persons of whom no row is loaded.
    earlier: lines of persons who were erased by an earlier request.

    findings: places where a value was found afterwards; the erasure is done when there are none.
    """

    request: str
    erasure_id: int
    persons: int
    already: bool = False
    unknown: tuple[int, ...] = ()
    earlier: tuple[int, ...] = ()
    proof: dict[str, Any] = field(default_factory=dict)
    findings: tuple[dict[str, Any], ...] = ()


def foresee(wanted: Wanted, progress: Progress = lambda step, done, total: None) -> dict[str, Any]:
    """How much there is of the persons in each store; nothing is changed or noted but that somebody looked."""
    with connect(autocommit=True) as conn:
        check_key(conn)
        of = wanted.participant_tokens(conn)
        files = LandedFiles(conn)
        persons = Persons(frozenset(wanted.niks), frozenset(wanted.values))
        return {
            "persons": len(wanted.niks),
            "unknown_lines": list(unknown_lines(conn, wanted)),
            "landed_files": files.holding(persons, lambda done, total: progress("landing", done, total)),
            "rows": {**counts(conn, of), **rows_of(Work(conn), of)},
        }


def erase(
    wanted: Wanted,
    *,
    why: str,
    who: str,
    request: str | None = None,
    progress: Progress = lambda step, done, total: None,
    wait: Callable[[], None] = lambda: None,
) -> Erased:
    """Erases the persons, or goes on with that; see docs/security.md for what goes where and what stays.

    As the login itself, which must own the database. Only one erasure is at work at a time, and `wait` is called where
    that is another one; loads and builds wait for a part of it. Raises UserError for a request of that name for others,
    Busy for others that do not end, and what the steps raise: the erasure then goes on when it is asked for again.
    """
    with locks.locked(Lock.ERASURE, "erasure", role=None, wait=wait), connect(autocommit=True) as conn:
        check_key(conn)
        known_request = requests.open_request(conn, wanted, request=request, why=why, who=who)
        if known_request.outcome == "done":
            requests.remove(known_request.request)  # of one that was killed at its very end
            return Erased(known_request.request, known_request.erasure_id, known_request.persons, already=True)
        return _Erasure(conn, known_request, wanted, who, progress).run()


class _Erasure:
    """One erasure, from the step on at which it stands."""

    def __init__(
        self, conn: psycopg.Connection, request: Request, wanted: Wanted, who: str, progress: Progress
    ) -> None:
        self.conn = conn
        self.request = request
        self.id = request.erasure_id
        self.saved = requests.saved_of(request.request) or Saved(wanted.niks, wanted.lines, wanted.values)
        self.wanted = wanted
        self.note = AuditNote(f"erasure {request.request}", who)
        self.progress = progress
        self.tokens = wanted.participant_tokens(conn)
        self.details = self._finished()

    def run(self) -> Erased:
        """Takes the steps that are left. The private file stays until nothing is found of the persons any more."""
        requests.save(self.request.request, self.saved)
        for step in STEPS:
            if step in self.details:
                continue
            self._begin(step)
            detail = getattr(self, f"_{step}")()
            if step == "verified" and detail["places"]:
                self._reopen()
                return self._result(findings=tuple(detail["places"]))
            self._end(step, detail)
        proof = write_proof(self.conn, self.request, self.details)
        requests.close(self.conn, self.id, proof)
        requests.remove(self.request.request)
        return self._result(proof=proof)

    # --- the steps ----------------------------------------------------------------------------------------------------
    def _noted(self) -> dict[str, Any]:
        access = note_access(
            "erase", done_by=self.note.done_by, why=self.request.why, subjects=self.wanted.subjects, role=None
        )
        self.conn.execute("update ops.erasure set access_id = %s where erasure_id = %s", [access, self.id])
        return {"unknown_lines": list(unknown_lines(self.conn, self.wanted))}

    def _suppressed(self) -> dict[str, Any]:
        of_the_list = Suppression(suppression_keys(self.conn) or tokens.load_suppression_keys())
        listed = [of_the_list.token_of(nik) for nik in self.wanted.niks]
        before = already_suppressed(self.conn, listed)
        earlier = [
            line for token, line in zip(listed, self.wanted.lines, strict=True) if before.get(token, self.id) != self.id
        ]
        return {"added": suppress(self.conn, self.id, listed), "erased_before_lines": earlier}

    def _found(self) -> dict[str, Any]:
        niks = frozenset(self.wanted.niks)
        values: set[str] = set()
        telling = {*_NAMES, *(name for feed in feeds() for name in load_contract(feed).contacts)}
        in_vault = known(self.conn, self.tokens)
        for source in (in_vault.values, LandedFiles(self.conn).values(niks, self._bar("found"))):
            values |= {value for name, of in source.items() if name in telling for value in of}
        values = {value.strip() for value in values if len(value.strip()) >= SHORTEST} - {*niks, *self.wanted.values}
        theirs = _alone(self.conn, sorted(values), self.tokens)
        theirs -= LandedFiles(self.conn).values_of_others(niks, frozenset(theirs), self._bar("found"))
        self.saved = replace(self.saved, found=tuple(sorted(theirs)), shared=len(values) - len(theirs))
        requests.save(self.request.request, self.saved)
        return {"values": len(theirs), "shared_values": self.saved.shared, "rows": in_vault.rows}

    def _landing(self) -> dict[str, Any]:
        persons = Persons(frozenset(self.wanted.niks), frozenset(self._values()))
        files = LandedFiles(self.conn)
        detail = self._detail("landing")
        done: dict[str, dict[str, int]] = detail.get("branches", {})
        for number, branch_id in enumerate(sorted(files.by_branch)):
            self.progress("landing", number, len(files.by_branch))
            if branch_id not in done:
                done[branch_id] = dict(files.erase(branch_id, persons, self.id))
                self._keep("landing", {"branches": done})
        totals = {
            name: sum(of.get(name, 0) for of in done.values()) for name in ("files", "rewritten", "rows", "emptied")
        }
        return {"branches": done, **totals}

    def _warehouse(self) -> dict[str, Any]:
        uris = [
            uri
            for (uri,) in self.conn.execute(
                "select distinct landed_uri from ops.landed_rewrite where erasure_id = %s", [self.id]
            ).fetchall()
        ]
        with connect() as conn:
            # In this order as all do: publications, then builds and loads.
            alone(conn)
            locks.take(conn, Lock.BUILD)
            slices = slices_landed_in(conn, uris)
            tables = touched_partitions(conn, self.tokens, slices)
            note_tokens(conn, self.tokens)
            rows = erase_rows(conn)
            lines = erase_lines(conn, slices, self.note)
            cut = cut_tokens(Work(conn), ERASED_TOKENS)
            detail = {"rows": {**rows, **cut}, "lines": lines, "tables": tables}
            # With the rows: a step that was killed behind this is not taken again with other tokens.
            self._end("warehouse", detail, conn)
        return detail

    def _files(self) -> dict[str, Any]:
        # Compressed, nobody would find a token there.
        place.forget(get_settings())
        return {"removed": sweep_files(self._needles())}

    def _database(self) -> dict[str, Any]:
        return rewrite_tables(self.conn, self.details["warehouse"]["tables"], self._bar("database"))

    def _verified(self) -> dict[str, Any]:
        found = search_all(self._needles(), self._bar("verified"), but_for=requests.file_of(self.request.request))
        return found.as_json()

    # --- what they share ----------------------------------------------------------------------------------------------
    def _values(self) -> list[str]:
        return sorted({*self.wanted.values, *(self.saved.found or ())})

    def _needles(self) -> Needles:
        return Needles([*self.wanted.niks, *self._values(), *self.tokens])

    def _bar(self, step: str) -> Callable[[int, int], None]:
        return lambda done, total: self.progress(step, done, total)

    def _finished(self) -> dict[str, Any]:
        return dict(
            self.conn.execute(
                "select step, detail from ops.erasure_step where erasure_id = %s and finished_at is not null", [self.id]
            ).fetchall()
        )

    def _detail(self, step: str) -> dict[str, Any]:
        row = self.conn.execute(
            "select detail from ops.erasure_step where erasure_id = %s and step = %s", [self.id, step]
        ).fetchone()
        return {} if row is None else row[0]

    def _begin(self, step: str) -> None:
        self.conn.execute(
            "insert into ops.erasure_step (erasure_id, step) values (%s, %s) on conflict do nothing", [self.id, step]
        )

    def _keep(self, step: str, detail: dict[str, Any]) -> None:
        self.conn.execute(
            "update ops.erasure_step set detail = %s where erasure_id = %s and step = %s",
            [Jsonb(detail), self.id, step],
        )

    def _end(self, step: str, detail: dict[str, Any], conn: psycopg.Connection | None = None) -> None:
        (conn or self.conn).execute(
            "update ops.erasure_step set detail = %s, finished_at = coalesce(finished_at, clock_timestamp())"
            " where erasure_id = %s and step = %s",
            [Jsonb(detail), self.id, step],
        )
        self.details[step] = detail

    def _reopen(self) -> None:
        """Has what makes no difference when it is done twice done again the next time, for something was found."""
        self.conn.execute(
            "update ops.erasure_step set finished_at = null where erasure_id = %s and step in ('files', 'database')",
            [self.id],
        )

    def _result(self, **more: Any) -> Erased:
        unknown = tuple(self.details.get("noted", {}).get("unknown_lines", ()))
        earlier = tuple(self.details.get("suppressed", {}).get("erased_before_lines", ()))
        return Erased(self.request.request, self.id, len(self.wanted.niks), unknown=unknown, earlier=earlier, **more)


def _alone(conn: psycopg.Connection, values: list[str], of: list[str]) -> set[str]:
    """Those of the values that stand in no other person's row of vault, in whatever form."""
    if not values:
        return set()
    # Of spellings of one value a search tells but one.
    texts = list(dict.fromkeys(map(same_text, values)))
    needles, shared = Needles([next(v for v in values if same_text(v) == text) for text in texts]), set[int]()
    # A table, for COPY takes no parameters, and tokens in the text of a statement would be kept in its statistics.
    conn.execute("create temporary table of_request (token text primary key)")
    try:
        conn.execute("insert into pg_temp.of_request select distinct * from unnest(%s::text[])", [of])
        for contract in map(load_contract, feeds()):
            if contract.has_nik:
                columns = sql.SQL(", ").join(sql.Identifier(c.name) for c in contract.columns if c.personal)
                others = sql.SQL(
                    "select {} from {} v where not exists (select from pg_temp.of_request r"
                    " where r.token = v.participant_token)"
                ).format(columns, sql.Identifier("vault", contract.table))
                shared |= set(found_in_query(conn, others, needles))
    finally:
        conn.execute("drop table pg_temp.of_request")
    alone = {text for number, text in enumerate(texts, start=1) if number not in shared}
    return {value for value in values if same_text(value) in alone}
