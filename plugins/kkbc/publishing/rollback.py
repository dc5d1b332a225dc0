"""Roll back: an earlier publication becomes what BI reads again, whole, as a publication of its own.

The differences kept since are taken back, the newest first, so the cost follows what changed. What the marts in the
hidden schema stand at is left alone: the next night's build goes on from there and publishes its own state again.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts import models
from kkbc.marts.models import SLICES, PublishedModel
from kkbc.publishing import totals
from kkbc.publishing.foreign_keys import check, drop_keys, make_missing
from kkbc.publishing.grants import protect
from kkbc.publishing.indexes import make_indexes
from kkbc.publishing.record import Publication, Table, alone, live, record, states
from kkbc.publishing.swap import Change, State, keep_readers_out, make_again, measure, primary_key, take_back
from kkbc.publishing.undo import Kept, keep, kept_of, prune, put_in_place, set_aside
from kkbc.publishing.work import Work
from kkbc.warehouse import locks
from kkbc.warehouse.locks import Lock

REMEDY = "choose a later publication; nothing was changed"


def roll_back(
    conn: psycopg.Connection,
    *,
    to: int | None = None,
    why: str,
    who: str,
    request: str | None = None,
    wait: Callable[[], None] = lambda: None,
) -> Publication:
    """Restores publication `to`, or the one before the live one, in the caller's transaction, and records why and who.

    `conn` acts as role publisher. request: a name for the request, e.g. of a task that may be tried again; what was
    done for it is not done twice. `wait` is called when a build or a publication is under way and has to be waited for.
    Raises UserError for a publication that is not known, live, or no longer kept, for an empty reason, and when the
    tables do not come to what they were: nothing is changed then.
    """
    if not why.strip():
        raise UserError("a rollback needs a reason", "give it: --why 'targets of December were loaded twice'")
    # Settled before anything is waited for: two who ask at once mean the same publication, and one of them comes late.
    to = to if to is not None else _before_live(_history(Work(conn)))
    if not locks.take_if_free(conn, Lock.PUBLISH):
        wait()
    alone(conn)
    work = Work(conn)
    if request is not None:
        done = work.rows("select publication_id, tables, restores from ops.publication where request = %s", [request])
        if done:
            return Publication(*done[0])
    way = _way_back(_history(work), to)
    steps = [step for done in way for step in kept_of(work, done)]
    drop_keys({(step.schema, step.table) for step in steps if step.kind != "rows"})
    before = live(work)
    ((publication_id,),) = work.rows(
        "insert into ops.publication (build_id, as_of, tables, kept, restores, why, done_by, request)"
        " select build_id, as_of, '{}', true, coalesce(restores, publication_id), %s, %s, %s from ops.publication"
        " where publication_id = %s returning publication_id",
        [why, who, request, to],
    )
    totals.take(work)
    changes = _take_all_back(work, steps, states(work, before), publication_id)
    _check_restored(work, changes, to)
    totals.store(work, publication_id, totals.changed(work))
    tables = record(work, publication_id, changes, before)
    prune(work, get_settings().publications_kept)
    ((restores,),) = work.rows("select restores from ops.publication where publication_id = %s", [publication_id])
    return Publication(publication_id, tables, restores)


@dataclass(frozen=True)
class History:
    """Publications, the newest first: whether what takes each back is kept, and whose tables each has."""

    ids: list[int]
    kept: dict[int, bool]
    holds: dict[int, int]

    def way_back(self, to: int) -> list[int] | int:
        """The publications to take back to have the tables of `to`, or the first of them that is no longer kept.

        A rollback on the way is no detour: what it restored is where the way goes on.
        """
        current, way = self.ids[0], list[int]()
        while self.holds[current] != self.holds[to]:
            if current != self.holds[current] >= to:
                current = self.holds[current]
                continue
            if not self.kept[current]:
                return current
            way.append(current)
            current = self.ids[self.ids.index(current) + 1]
        return way

    def can_restore(self, to: int) -> bool:
        """Whether there is something to take back, and all of it is kept."""
        return isinstance(way := self.way_back(to), list) and bool(way)


def history_of(rows: Sequence[tuple[int, bool, int | None]]) -> History:
    """The history in rows of publication_id, kept and restores, the newest first."""
    return History(
        [publication_id for publication_id, _, _ in rows],
        {publication_id: kept for publication_id, kept, _ in rows},
        {publication_id: restores or publication_id for publication_id, _, restores in rows},
    )


def _history(work: Work) -> History:
    """The history of the warehouse. Raises UserError for one without a publication."""
    rows = work.rows("select publication_id, kept, restores from ops.publication order by publication_id desc")
    if not rows:
        raise UserError("nothing is published yet", "run a night first: `kkbc run` or `make run`")
    return history_of([(publication_id, kept, restores) for publication_id, kept, restores in rows])


def _before_live(history: History) -> int:
    """The publication before the one that readers see. Raises UserError when there is none."""
    held = history.holds[history.ids[0]]
    before = next((publication_id for publication_id in history.ids if publication_id < held), None)
    if before is None:
        raise UserError(f"there is no publication before {held}", "there is nothing to go back to")
    return before


def _way_back(history: History, to: int) -> list[int]:
    """The publications to take back to have `to`, the newest first. Raises UserError when it cannot be."""
    if to not in history.holds:
        raise UserError(f"publication {to} is not known", "`kkbc publication list` names those that can be restored")
    way = history.way_back(to)
    if isinstance(way, int):
        raise UserError(
            f"publication {to} is no longer kept: what publication {way} changed is forgotten",
            "choose a later one (`kkbc publication list`); KKBC_PUBLICATIONS_KEPT says how many are kept",
        )
    if not way:
        raise UserError(f"publication {to} is what readers see", "`kkbc publication list` tells the others")
    return way


def _take_all_back(
    work: Work, steps: list[Kept], current: dict[Table, State], publication_id: int
) -> dict[Table, Change]:
    """Returns what became of each table; in the end all are read, so that what is recorded is what is there."""
    counts: dict[Table, tuple[int, int]] = dict.fromkeys(current, (0, 0))
    keep_readers_out(work, {(step.schema, step.table): None for step in steps if step.kind != "rows"})
    for step in steps:
        table = (step.schema, step.table)
        if step.kind == "rows":
            taken, given = take_back(work, step, publication_id)
            deleted, inserted = counts.get(table, (0, 0))
            counts[table] = (deleted + taken, inserted + given)
        elif step.kind == "created":
            _take_table_back(work, step, publication_id)
            del counts[table]
        else:
            _take_table_back(work, step, publication_id)
            counts[table] = (current[table].rows if table in current else 0, measure(work, *table).rows)
    check(work, REMEDY)
    for model in _models(counts):
        make_indexes(work, model)
    make_missing(work, _models(counts), REMEDY)
    return {table: Change(*count, measure(work, *table)) for table, count in counts.items()}


def _take_table_back(work: Work, step: Kept, publication_id: int) -> None:
    """A table that was created goes, one that was ended comes again, one of another shape gives way to the old one."""
    kind: Any = {"created": "retired", "retired": "created", "shape": "shape"}[step.kind]
    kept = keep(work, publication_id, step.schema, step.table, kind, primary_key(work, step.schema, step.table))
    if step.kind != "retired":
        set_aside(work, step.schema, step.table, kept)
    if step.kind != "created":
        put_in_place(work, make_again(work, step), step.schema, step.table)
        protect(work, step.schema, step.table)


def _models(tables: Collection[Table]) -> list[PublishedModel]:
    """The models whose tables are there."""
    return [model for model in (*models.published_models(), SLICES) if (model.schema, model.name) in tables]


def _check_restored(work: Work, changes: dict[Table, Change], target: int) -> None:
    """Compares what the tables hold with what was recorded when the publication was made."""
    recorded = states(work, target)
    if not recorded:
        return  # of a time before this was recorded
    found = {table: change.state for table, change in changes.items()}
    wrong = sorted(f"{s}.{t}" for s, t in recorded.keys() | found.keys() if recorded.get((s, t)) != found.get((s, t)))
    if wrong:
        raise UserError(
            f"{', '.join(wrong)} would not be what publication {target} was: changed by another hand",
            "run the night again with --full-refresh; nothing was changed",
        )
